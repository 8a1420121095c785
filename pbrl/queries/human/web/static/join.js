// The token stays behind the #, so that it is in no server's log; then it leaves the history too.
import { call } from "./api.js";

const message = document.getElementById("message");
const ADVICE = {
  401: "Its owner has taken it back or made you a new one, or the link was cut off on its way. Ask whoever sent it.",
  429: "Too many attempts came from your network. Wait a minute and open the link again.",
};

function refuse(reason) {
  document.getElementById("title").textContent = "You cannot enter";
  message.textContent = reason;
}

const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

if (!token) {
  refuse("The address lacks what follows the #. Open the whole link that you were given.");
} else {
  try {
    const entered = await call("POST", "/api/session", { token });
    location.replace(entered.page);
  } catch (error) {
    const reason = error.message[0].toUpperCase() + error.message.slice(1);
    refuse(`${reason}. ${ADVICE[error.status] ?? "Try again in a moment."}`);
  }
}
