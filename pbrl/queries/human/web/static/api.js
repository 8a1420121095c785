// Requests to the server, with the page's key; an answer that is no success is a Refusal.

const key = document.querySelector('meta[name="csrf-token"]').content;

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0: the server cannot be reached
  }
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json", "X-CSRF-Token": key },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch {
    throw new Refusal(0, "the server cannot be reached");
  }
  if (response.status === 204) return null;
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  const detail = content.detail;
  const reason = Array.isArray(detail) ? detail.map((one) => `${one.where}: ${one.reason}`).join("; ") : detail;
  throw new Refusal(response.status, reason || `error ${response.status}`);
}

// crypto.randomUUID is there over TLS and on loopback only.
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

let hiding = 0;
export function toast(text, milliseconds = 2200) {
  const element = document.getElementById("toast");
  element.textContent = text;
  element.classList.add("shown");
  clearTimeout(hiding);
  hiding = setTimeout(() => element.classList.remove("shown"), milliseconds);
}
