// Clips that play in step. One clock drives them all: each film follows it and is put right where it
// drifts; a drawing shows the present step by a line.

const DRIFT_SECONDS = 0.12;
const HOLD_SECONDS = 0.45; // at the end, before it starts again
const MARGIN_PERCENT = 4; // of a drawing, at each side
const HAS_FRAME = 2; // HTMLMediaElement.HAVE_CURRENT_DATA

class Clip {
  constructor(segment, settings) {
    this.segment = segment;
    this.fps = settings.fps;
    this.element = document.createElement("figure");
    this.element.className = "clip";
    const screen = document.createElement("div");
    screen.className = `screen ${segment.media}`;
    this.media = document.createElement(segment.media === "film" ? "video" : "img");
    this.element.style.setProperty("--ratio", String(settings.width / settings.height));
    if (segment.media === "film") {
      Object.assign(this.media, { muted: true, playsInline: true, preload: "auto", disableRemotePlayback: true });
    } else {
      this.media.alt = "";
      this.cursor = document.createElement("div");
      this.cursor.className = "cursor";
    }
    this.media.src = segment.clip;
    screen.append(this.media, ...(this.cursor ? [this.cursor] : []));
    this.screen = screen;
    this.element.append(screen);
  }

  get isReady() {
    return this.cursor ? this.media.complete : this.media.readyState >= HAS_FRAME;
  }

  get hasFailed() {
    return this.cursor ? this.media.complete && !this.media.naturalWidth : this.media.error !== null;
  }

  show(time, isPlaying, rate) {
    const steps = this.segment.num_steps;
    if (this.cursor) {
      const part = Math.min(1, (time * this.fps) / Math.max(1, steps - 1));
      this.cursor.style.left = `${MARGIN_PERCENT + (100 - 2 * MARGIN_PERCENT) * part}%`;
      return;
    }
    const film = this.media;
    const last = (steps - 0.5) / this.fps; // the middle of the last frame: a film's end shows nothing
    if (!isPlaying || time >= last) {
      if (!film.paused) film.pause();
      // The middle of a frame, so that rounding never shows its neighbour.
      const middle = Math.min((Math.floor(time * this.fps + 1e-6) + 0.5) / this.fps, last);
      if (!film.seeking && Math.abs(film.currentTime - middle) > 0.25 / this.fps) film.currentTime = middle;
      return;
    }
    film.playbackRate = rate;
    if (!film.seeking && Math.abs(film.currentTime - time) > DRIFT_SECONDS * Math.max(1, rate)) film.currentTime = time;
    if (film.paused) film.play().catch(() => {});
  }

  stop() {
    if (this.cursor) return;
    this.media.pause();
    this.media.removeAttribute("src");
    this.media.load();
  }
}

// The clips of one query.
export class Scene {
  constructor(task, settings) {
    this.task = task;
    this.clips = task.segments.map((segment) => new Clip(segment, settings));
    this.numSteps = Math.max(...task.segments.map((segment) => segment.num_steps));
  }

  get isReady() {
    return this.clips.every((clip) => clip.isReady || clip.hasFailed);
  }

  stop() {
    for (const clip of this.clips) clip.stop();
  }
}

// Plays the scene on show.
export class Player {
  constructor(settings, onStep) {
    this.fps = settings.fps;
    this.onStep = onStep;
    this.scene = null;
    this.rate = 1;
    this.isPlaying = true;
    this.time = 0;
    this.then = 0;
    requestAnimationFrame((now) => this.#tick(now));
  }

  get step() {
    return Math.min(Math.floor(this.time * this.fps + 1e-6), (this.scene?.numSteps ?? 1) - 1);
  }

  show(scene) {
    this.scene = scene;
    this.time = 0;
    this.isPlaying = true;
    this.#draw();
  }

  toggle() {
    this.isPlaying = !this.isPlaying;
    this.#draw();
  }

  seek(step) {
    if (!this.scene) return;
    this.isPlaying = false;
    this.time = Math.max(0, Math.min(step, this.scene.numSteps - 1)) / this.fps;
    this.#draw();
  }

  #tick(now) {
    const passed = Math.min((now - this.then) / 1000, 0.25);
    this.then = now;
    if (this.scene && this.isPlaying && this.scene.isReady && !document.hidden) {
      this.time += passed * this.rate;
      if (this.time > this.scene.numSteps / this.fps + HOLD_SECONDS * this.rate) this.time = 0;
    }
    if (this.scene) this.#draw();
    requestAnimationFrame((next) => this.#tick(next));
  }

  #draw() {
    for (const clip of this.scene.clips) clip.show(this.time, this.isPlaying, this.rate);
    this.onStep(this);
  }
}
