// The page on which annotators label. It shows the next query at once and sends answers behind it.
import { call, newKey, sleep, toast } from "./api.js";
import { KINDS } from "./kinds.js";
import { Outbox } from "./outbox.js";
import { Player, Scene } from "./player.js";

const AHEAD = 2; // queries held at once: one on show, one loading
const FLASH_MILLISECONDS = 130;
const ASK_AGAIN_MILLISECONDS = 3000;
const PATIENCE_MILLISECONDS = 3000;
const SPEEDS = [0.25, 0.5, 1, 2, 4];

const at = (id) => document.getElementById(id);
const data = at("app").dataset;
const settings = {
  kind: data.kind,
  fps: Number(data.fps),
  height: Number(data.height),
  width: Number(data.width),
  classes: JSON.parse(data.classes),
};

const MESSAGES = {
  waiting: ["Nothing to label just now", "Clips are being drawn, others hold what is left, or a run that learns from you will ask more. This page looks again by itself."],
  finished: ["All done", "There is nothing left for you to label. Thank you!"],
  paused: ["The study is paused", "Its owner has paused it. This page goes on when the study does."],
  closed: ["The study is closed", "Thank you for your help!"],
  session: ["Your session has ended", "Open your invitation link again. Answers that were not sent yet are kept in this browser."],
};

let tasks = []; // in the order of the server, the first one on show
let scenes = new Map(); // by assignment
let shown = null;
let shownAt = 0;
let isBusy = false;

const player = new Player(settings, drawTransport);
const desk = { settings, player, answer, undo, say: toast };
const kind = new KINDS[settings.kind](desk);
at("answers").append(...kind.buttons());

const outbox = new Outbox(`pbrl outbox ${data.study}/${data.person}`, {
  sent: (response) => { if (response.next) accept(response.next); },
  refused: (_answer, refusal) => {
    if (refusal.status === 401) return showMessage("session");
    toast(`Not recorded: ${refusal.message}`, 5000);
    return refresh();
  },
  changed: (waiting, isOffline) => {
    const saved = at("saved");
    saved.className = `saved ${isOffline ? "warn" : "good"}`;
    if (isOffline) saved.textContent = `Offline: ${waiting} kept here`;
    else saved.textContent = waiting ? "Saving …" : "Saved";
  },
});
outbox.next = AHEAD;

// --- queries ---------------------------------------------------------------

async function refresh() {
  try {
    accept(await call("POST", "/api/next", { number: AHEAD }));
  } catch (refusal) {
    if (refusal.status === 401) return showMessage("session");
    at("saved").className = "saved warn";
    at("saved").textContent = refusal.message;
    setTimeout(refresh, ASK_AGAIN_MILLISECONDS);
  }
}

let asking = 0;
function accept(next) {
  // What is answered here but not yet there is not shown again.
  tasks = next.tasks.filter((task) => !outbox.has(task.assignment));
  const { answered, left } = next.progress;
  at("bar").max = Math.max(1, answered + left);
  at("bar").value = answered;
  at("count").textContent = left ? `${answered} answered · ${left} left` : `${answered} answered`;
  clearTimeout(asking);
  if (tasks.length) showFirst();
  else if (!outbox.waiting.length) {
    showMessage(next.state, answered > 0);
    if (next.state === "waiting" || next.state === "paused") asking = setTimeout(refresh, ASK_AGAIN_MILLISECONDS);
  }
}

function sceneOf(task) {
  if (!scenes.has(task.assignment)) scenes.set(task.assignment, new Scene(task, settings));
  return scenes.get(task.assignment);
}

function showFirst() {
  for (const task of tasks) sceneOf(task); // the later ones load meanwhile
  const wanted = new Set(tasks.map((task) => task.assignment));
  for (const [assignment, scene] of scenes) {
    if (!wanted.has(assignment)) {
      scene.stop();
      scenes.delete(assignment);
    }
  }
  if (shown === tasks[0].assignment) return;
  shown = tasks[0].assignment;
  const scene = sceneOf(tasks[0]);
  const stage = at("stage");
  stage.classList.toggle("many", scene.clips.length > 2);
  stage.style.setProperty("--columns", String(Math.ceil(Math.sqrt(scene.clips.length))));
  stage.dataset.assignment = String(shown);
  stage.replaceChildren(...scene.clips.map((clip) => clip.element));
  at("message").hidden = true;
  at("drawn").hidden = !tasks[0].segments.some((segment) => segment.media === "drawing");
  at("transport").hidden = at("answers").hidden = false;
  at("scrub").max = String(scene.numSteps - 1);
  player.show(scene);
  kind.start(scene);
  shownAt = performance.now();
}

function showMessage(name, hasAnswers = false) {
  const [title, text] = MESSAGES[name] ?? MESSAGES.waiting;
  shown = null;
  player.scene = null;
  at("stage").replaceChildren();
  delete at("stage").dataset.assignment;
  at("transport").hidden = at("answers").hidden = at("drawn").hidden = true;
  const message = at("message");
  const heading = Object.assign(document.createElement("h2"), { textContent: title });
  message.replaceChildren(heading, Object.assign(document.createElement("p"), { textContent: text }));
  if (hasAnswers && (name === "finished" || name === "waiting")) {
    const back = Object.assign(document.createElement("button"), { type: "button", textContent: "Take the last answer back (Z)" });
    back.addEventListener("click", undo);
    message.append(back);
  }
  message.hidden = false;
}

// --- answers ---------------------------------------------------------------

async function answer(value, chosen) {
  if (isBusy || shown === null) return;
  isBusy = true;
  const [task] = tasks;
  const seconds = Math.min((performance.now() - shownAt) / 1000, 86400);
  const clips = scenes.get(task.assignment).clips;
  for (const place of chosen) clips[place].element.classList.add("chosen");
  await sleep(FLASH_MILLISECONDS);
  tasks = tasks.slice(1);
  shown = null;
  if (tasks.length) showFirst();
  outbox.add({ assignment: task.assignment, value, key: newKey(), seconds });
  isBusy = false;
}

async function undo() {
  if (isBusy) return;
  isBusy = true;
  try {
    await Promise.race([outbox.flush(), sleep(PATIENCE_MILLISECONDS)]);
    if (outbox.waiting.length) return void toast("Not undone: answers still wait for the connection");
    const undone = await call("POST", "/api/undo", { key: newKey(), next: AHEAD });
    toast(undone.assignment === null ? "There is no answer to take back" : "Your last answer is taken back");
    scenes.forEach((scene) => scene.clips.forEach((clip) => clip.element.classList.remove("chosen")));
    accept(undone.next);
  } catch (refusal) {
    if (refusal.status === 401) showMessage("session");
    else toast(`Not undone: ${refusal.message}`);
  } finally {
    isBusy = false;
  }
}

// --- playing ---------------------------------------------------------------

function drawTransport() {
  if (!player.scene) return;
  at("scrub").value = String(player.step);
  at("step").textContent = `${player.step + 1} / ${player.scene.numSteps}`;
  at("play").textContent = player.isPlaying ? "❚❚" : "►";
}

function setSpeed(change) {
  const place = SPEEDS.indexOf(player.rate) + change;
  player.rate = SPEEDS[Math.max(0, Math.min(place, SPEEDS.length - 1))];
  at("speed").value = String(player.rate);
}

at("play").addEventListener("click", () => player.toggle());
at("back").addEventListener("click", () => player.seek(player.step - 1));
at("forward").addEventListener("click", () => player.seek(player.step + 1));
at("scrub").addEventListener("input", (event) => player.seek(Number(event.target.value)));
at("speed").addEventListener("change", (event) => { player.rate = Number(event.target.value); event.target.blur(); });

at("transport").addEventListener("click", (event) => { if (event.detail > 0) document.activeElement.blur(); });

const CONTROLS = {
  " ": () => player.toggle(),
  ",": () => player.seek(player.step - 1),
  ".": () => player.seek(player.step + 1),
  "[": () => setSpeed(-1),
  "]": () => setSpeed(1),
  h: () => at("help").showModal(),
  "?": () => at("help").showModal(),
};

addEventListener("keydown", (event) => {
  if (at("help").open || event.ctrlKey || event.metaKey || event.altKey || event.repeat && !",.".includes(event.key)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  // A control of the page that is focused keeps the keys that work it.
  if (document.activeElement instanceof HTMLSelectElement) return;
  if (document.activeElement instanceof HTMLButtonElement && (key === " " || key === "Enter")) return;
  if (key in CONTROLS) CONTROLS[key]();
  else if (shown === null ? !(key === "z" && undo()) : !kind.press(key)) return;
  event.preventDefault();
});

// --- start -----------------------------------------------------------------

const rows = [...kind.keys, ["space", "play or pause"], [", .", "one step back, one step on"], ["[ ]", "slower, faster"], ["H", "this help"]];
for (const [keys, words] of rows) {
  const row = at("keys").insertRow();
  row.insertCell().append(...keys.split(" ").map((key) => Object.assign(document.createElement("kbd"), { textContent: key })));
  row.insertCell().textContent = words;
}
at("help-button").addEventListener("click", () => at("help").showModal());
const seen = `pbrl seen ${data.study}/${data.person}`;
try {
  if (!localStorage.getItem(seen)) {
    at("help").showModal();
    at("help").addEventListener("close", () => { localStorage.setItem(seen, "yes"); shownAt = performance.now(); }, { once: true });
  }
} catch { /* without storage the help is a key away */ }

await outbox.flush();
await refresh();
