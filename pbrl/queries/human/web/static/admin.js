// The owners' page: its numbers renew themselves.
import { call, toast } from "./api.js";

const RENEW_MILLISECONDS = 4000;
const KEEP_MILLISECONDS = 60000; // a download, until the browser has it
const at = (id) => document.getElementById(id);

async function load(path, element) {
  const response = await fetch(path, { credentials: "same-origin" });
  if (response.redirected) return location.assign("/");
  if (response.ok) element.innerHTML = await response.text();
  return response.ok;
}

const count = (name) => document.querySelector(`[data-count="${name}"]`)?.textContent;

async function renew() {
  if (!document.hidden && !at("panel").contains(document.activeElement)) {
    const before = count("conflicts");
    try {
      const isFresh = await load("/admin/panel", at("panel"));
      at("saved").textContent = isFresh ? "Live" : "";
      at("saved").className = "saved good";
      if (before !== count("conflicts")) await load("/admin/conflicts", at("conflicts"));
    } catch {
      at("saved").textContent = "The server cannot be reached";
      at("saved").className = "saved warn";
    }
  }
  setTimeout(renew, RENEW_MILLISECONDS);
}

async function attempt(action) {
  try {
    await action();
    await load("/admin/panel", at("panel"));
  } catch (error) {
    toast(error.message, 4000);
  }
}

function showLink(invited) {
  at("link-name").textContent = invited.name;
  at("link-text").textContent = invited.link;
  at("link").hidden = false;
}

at("panel").addEventListener("click", (event) => {
  const { state, renew: renewed, revoke } = event.target.dataset;
  event.target.blur();
  if (state) attempt(() => call("PUT", "/api/admin/state", { state }));
  if (renewed && confirm("Make a new link? The old one and the sessions that it opened end. The answers stay.")) attempt(async () => showLink(await call("POST", `/api/admin/people/${renewed}/renew`)));
  if (revoke && confirm("Take this link back? The answers stay.")) attempt(() => call("POST", `/api/admin/people/${revoke}/revoke`));
});

at("invite").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const body = { name: form.elements.name.value.trim(), role: form.elements.role.value };
  attempt(async () => { showLink(await call("POST", "/api/admin/people", body)); form.reset(); });
});

at("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(at("link-text").textContent);
    toast("Copied");
  } catch {
    getSelection().selectAllChildren(at("link-text"));
    toast("Press Ctrl-C to copy");
  }
});

// A refusal is said on this page instead of taking its place.
async function download(link) {
  const response = await fetch(link.href, { credentials: "same-origin" });
  if (!response.ok) throw new Error((await response.json()).detail);
  const [, name] = response.headers.get("content-disposition").match(/filename="(.+)"/);
  const url = URL.createObjectURL(await response.blob());
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MILLISECONDS);
}

at("exports").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  download(link).catch((error) => toast(`Not exported: ${error.message}`, 8000));
});

at("aggregate")?.addEventListener("change", (event) => {
  for (const link of document.querySelectorAll("[data-aggregated]")) {
    const url = new URL(link.href);
    url.searchParams.set("aggregate", event.target.value);
    link.href = url.href;
  }
});

setTimeout(renew, RENEW_MILLISECONDS);
