// The token stays behind the #, so that it is in no server's log; then it leaves the history too.
import { call } from "./api.js";

const message = document.getElementById("message");
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

if (!token) {
  message.textContent = "This link has no token. Open the whole link that you were given.";
} else {
  try {
    const entered = await call("POST", "/api/session", { token });
    location.replace(entered.page);
  } catch (error) {
    message.textContent = `You cannot enter: ${error.message}.`;
  }
}
