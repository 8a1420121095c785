// Answers on their way to the server. They are kept in the browser until they are acknowledged, so
// that a lost connection or a closed page loses none; each has a key, so that none counts twice.
import { call, sleep } from "./api.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;

export class Outbox {
  // `on.sent(response)`, `on.refused(answer, refusal)` and `on.changed(waiting, isOffline)`.
  constructor(name, on) {
    this.name = name;
    this.on = on;
    this.waiting = this.#read();
    this.sending = null;
    this.next = 0;
  }

  has(assignment) {
    return this.waiting.some((answer) => answer.assignment === assignment);
  }

  add(answer) {
    this.waiting.push(answer);
    this.#write();
    this.flush();
  }

  // Resolves when nothing waits any more.
  flush() {
    this.sending ??= this.#send().finally(() => { this.sending = null; });
    return this.sending;
  }

  async #send() {
    let wait = FIRST_WAIT;
    while (this.waiting.length) {
      this.on.changed(this.waiting.length, wait > FIRST_WAIT);
      const answer = this.waiting[0];
      try {
        const response = await call("POST", "/api/answers", { ...answer, next: this.next });
        this.#remove(answer);
        wait = FIRST_WAIT;
        this.on.sent(response);
      } catch (error) {
        if (error.isTemporary) {
          wait = Math.min(2 * wait, LONGEST_WAIT);
          this.on.changed(this.waiting.length, true);
          await Promise.race([sleep(wait), new Promise((done) => addEventListener("online", done, { once: true }))]);
        } else {
          if (error.status !== 401) this.#remove(answer);
          this.on.refused(answer, error);
          if (error.status === 401) return;
        }
      }
    }
    this.on.changed(0, false);
  }

  #remove(answer) {
    this.waiting = this.waiting.filter((one) => one.key !== answer.key);
    this.#write();
  }

  #read() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.name) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  #write() {
    try {
      if (this.waiting.length) localStorage.setItem(this.name, JSON.stringify(this.waiting));
      else localStorage.removeItem(this.name);
    } catch { /* without storage they are kept as long as the page is */ }
  }
}
