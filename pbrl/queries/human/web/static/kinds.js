// What an annotator can say about a query, for each kind of feedback: the buttons, the keys, and how
// they become an answer. Answers speak of the segments in the order shown.

const kbd = (text) => Object.assign(document.createElement("kbd"), { textContent: text });

function button({ wide, tall, key, className = "", act }) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = className;
  const words = document.createElement("span");
  if (tall) {
    const inWide = Object.assign(document.createElement("span"), { className: "when-wide", textContent: wide });
    const inTall = Object.assign(document.createElement("span"), { className: "when-tall", textContent: tall });
    words.append(inWide, inTall);
  } else {
    words.textContent = wide;
  }
  element.append(words, kbd(key));
  element.addEventListener("click", (event) => { act(); if (event.detail > 0) element.blur(); });
  return element;
}

function badge(clip, text, className = "") {
  const element = Object.assign(document.createElement("div"), { className: `badge ${className}`, textContent: text });
  clip.screen.append(element);
  return element;
}

class Kind {
  // `desk.answer(value, chosenClips)`, `desk.undo()`, `desk.player` and `desk.say(text)`.
  constructor(desk) {
    this.desk = desk;
  }
  start(scene) {
    this.scene = scene;
  }
  get minor() {
    return [
      button({ wide: "Can't tell", key: "↓", className: "minor", act: () => this.desk.answer(null, []) }),
      button({ wide: "Undo", key: "Z", className: "minor", act: () => this.desk.undo() }),
    ];
  }
  press(key) {
    if (key === "ArrowDown" || key === "s") this.desk.answer(null, []);
    else if (key === "z" || key === "Backspace") this.desk.undo();
    else return false;
    return true;
  }
  get keys() {
    return [["↓ S", "can't tell"], ["Z Backspace", "take the last answer back"]];
  }
}

class Pair extends Kind {
  buttons() {
    const first = { wide: "Left is better", tall: "Upper is better", key: "←", className: "side first" };
    const second = { wide: "Right is better", tall: "Lower is better", key: "→", className: "side second" };
    return [
      button({ ...first, act: () => this.choose(0) }),
      button({ wide: "Equal", key: "↑", act: () => this.choose(0.5) }),
      ...this.minor,
      button({ ...second, act: () => this.choose(1) }),
    ];
  }
  choose(label) {
    this.desk.answer({ label }, label === 0.5 ? [0, 1] : [label]);
  }
  press(key) {
    if (key === "ArrowLeft" || key === "a" || key === "1") this.choose(0);
    else if (key === "ArrowRight" || key === "d" || key === "2") this.choose(1);
    else if (key === "ArrowUp" || key === "w" || key === "=") this.choose(0.5);
    else return super.press(key);
    return true;
  }
  get keys() {
    return [["← A", "the left clip is better"], ["→ D", "the right clip is better"], ["↑ W", "equally good"], ...super.keys];
  }
}

class Moment extends Pair {
  start(scene) {
    super.start(scene);
    this.mark(null, null);
  }
  buttons() {
    const [first, equal, skip, undo, second] = super.buttons();
    this.from = button({ wide: "Moment starts", key: "I", className: "minor", act: () => this.mark(this.desk.player.step, this.to) });
    this.until = button({ wide: "Moment ends", key: "O", className: "minor", act: () => this.mark(this.first, this.desk.player.step) });
    return [first, this.from, this.until, equal, skip, undo, second];
  }
  mark(first, to) {
    this.first = first;
    this.to = to;
    if (first !== null && to !== null && first > to) [this.first, this.to] = [to, first];
    this.#show(this.from, this.first, "Moment starts", "Starts at");
    this.#show(this.until, this.to, "Moment ends", "Ends at");
    const band = document.getElementById("band");
    const hasAny = first !== null || to !== null;
    band.hidden = !hasAny;
    if (hasAny) {
      const last = Math.max(1, this.scene.numSteps - 1);
      const start = this.first ?? this.to, end = this.to ?? this.first;
      band.style.left = `${(100 * start) / last}%`;
      band.style.width = `${(100 * (end - start)) / last}%`;
    }
  }
  #show(element, step, words, wordsBefore) {
    element.classList.toggle("pressed", step !== null);
    element.firstChild.textContent = step === null ? words : `${wordsBefore} ${step + 1}`;
  }
  choose(label) {
    const isMarked = this.first !== null && this.to !== null;
    if (label !== 0.5 && !isMarked) {
      this.desk.say("First mark the moment that decided: I where it starts, O where it ends");
      return;
    }
    this.desk.answer({ label, moment: isMarked ? [this.first, this.to] : null }, label === 0.5 ? [0, 1] : [label]);
  }
  press(key) {
    if (key === "i") this.mark(this.desk.player.step, this.to);
    else if (key === "o") this.mark(this.first, this.desk.player.step);
    else return super.press(key);
    return true;
  }
  get keys() {
    return [["I O", "the deciding moment starts, ends here"], ...super.keys];
  }
}

class Rating extends Kind {
  buttons() {
    const classes = this.desk.settings.classes;
    return [
      ...classes.map((name, rating) => button({ wide: name, key: String(rating + 1), className: "side", act: () => this.rate(rating) })),
      ...this.minor,
    ];
  }
  rate(rating) {
    if (rating < this.desk.settings.classes.length) this.desk.answer({ rating }, [0]);
  }
  press(key) {
    if (!/^[1-9]$/.test(key)) return super.press(key);
    this.rate(Number(key) - 1);
    return true;
  }
  get keys() {
    return [...this.desk.settings.classes.map((name, rating) => [String(rating + 1), name]), ...super.keys];
  }
}

class Ranking extends Kind {
  start(scene) {
    super.start(scene);
    this.order = [];
    this.ranks = scene.clips.map((clip, place) => {
      badge(clip, String(place + 1));
      clip.element.addEventListener("click", () => this.pick(place));
      return badge(clip, "", "rank");
    });
    this.#draw();
  }
  buttons() {
    this.send = button({ wide: "Send this order", key: "Enter", className: "side", act: () => this.finish() });
    const clear = button({ wide: "Start over", key: "X", className: "minor", act: () => this.clear() });
    return [this.send, clear, ...this.minor];
  }
  pick(place) {
    if (place >= this.scene.clips.length) return;
    if (this.order.includes(place)) this.order = this.order.filter((one) => one !== place);
    else this.order.push(place);
    const left = this.scene.clips.map((_, one) => one).filter((one) => !this.order.includes(one));
    if (left.length === 1 && this.order.length > 0) this.order.push(left[0]); // it can only be the worst
    this.#draw();
  }
  clear() {
    this.order = [];
    this.#draw();
  }
  finish() {
    if (this.order.length < this.scene.clips.length) this.desk.say("Choose the clips one after the other, the best first");
    else this.desk.answer({ ranking: this.order }, [this.order[0]]);
  }
  press(key) {
    if (/^[1-9]$/.test(key)) this.pick(Number(key) - 1);
    else if (key === "Enter") this.finish();
    else if (key === "x" || (key === "Backspace" && this.order.length)) this.clear();
    else return super.press(key);
    return true;
  }
  #draw() {
    this.ranks.forEach((rank, place) => {
      const number = this.order.indexOf(place);
      rank.hidden = number < 0;
      rank.textContent = number === 0 ? "best" : `${number + 1}.`;
      this.scene.clips[place].element.classList.toggle("chosen", number === 0);
    });
    const isComplete = this.order.length === this.scene.clips.length;
    this.send.disabled = !isComplete;
    this.send.firstChild.textContent = isComplete ? "Send this order" : this.order.length ? "Choose the next best clip" : "Choose the best clip";
  }
  get keys() {
    return [["1 … 9", "this clip is the next best"], ["X", "start over"], ["Enter", "send the order"], ...super.keys];
  }
}

export const KINDS = { pair: Pair, moment: Moment, rating: Rating, ranking: Ranking };
