/**
 * Replay of the log: a slider over its time, and playback at a chosen speed. Sends no requests, as the page
 * has all events.
 */
import { byId, setText } from "./elements.js";
import { formatDuration } from "./page-text.js";

/** Time of an event in the log, from its id. */
const timeOf = (event) => Number.parseInt(event.id, 10);

/**
 * @param {(name: string, values?: Object) => string} translate
 * @param {() => void} redraw  Called after each change of the time.
 */
export function createReplay(translate, redraw) {
  const replay = new Replay(translate, redraw);
  byId("replay-open").addEventListener("click", () => replay.open());
  byId("replay-close").addEventListener("click", () => replay.close());
  byId("replay-play").addEventListener("click", () => replay.toggle());
  byId("replay-speed").addEventListener("change", () => replay.advance());
  replay.slider.addEventListener("input", () => replay.seek(replay.slider.valueAsNumber));
  return replay;
}

class Replay {
  constructor(translate, redraw) {
    Object.assign(this, { translate, redraw });
    this.slider = byId("replay-at");
    this.isOn = this.isPlaying = false;
    /** Position of the slider, length of the log, and time of its start, in milliseconds. */
    this.at = this.length = this.start = 0;
    this.before = 0;
  }

  /** Sets the log, which may have grown. @param {{id: string}[]} log */
  setLog(log) {
    this.start = log.length ? timeOf(log[0]) : 0;
    this.length = log.length ? Math.max(0, timeOf(log.at(-1)) - this.start) : 0;
    if (this.isOn && this.length === 0) this.close();
    byId("replay-open").disabled = this.isOn || this.length === 0;
    if (this.isOn) this.draw();
  }

  /** Number of events up to the position, at least one. */
  count(log) {
    let [low, high] = [1, log.length];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (timeOf(log[middle - 1]) - this.start <= this.at) low = middle;
      else high = middle - 1;
    }
    return Math.min(low, log.length);
  }

  /** The displayed time in milliseconds since 1970. */
  get now() {
    return this.start + this.at;
  }

  open() {
    this.show(true);
    this.at = 0;
    this.play(true);
    byId("replay-play").focus();
  }

  close() {
    const hadFocus = byId("replay").contains(document.activeElement);
    this.play(false);
    this.show(false);
    if (hadFocus) byId("replay-open").focus();
    this.redraw();
  }

  show(isOn) {
    this.isOn = isOn;
    byId("replay").hidden = !isOn;
    byId("replay-open").disabled = isOn;
    document.documentElement.toggleAttribute("data-replay", isOn);
  }

  toggle() {
    if (!this.isPlaying && this.at >= this.length) this.at = 0;
    this.play(!this.isPlaying);
  }

  play(isPlaying) {
    const begins = isPlaying && !this.isPlaying;
    this.isPlaying = isPlaying;
    setText(byId("replay-play"), this.translate(isPlaying ? "replay.pause" : "replay.play"));
    if (begins) this.advance();
    this.seek(this.at);
  }

  /** Plays from the position at the chosen speed. */
  advance(before = performance.now()) {
    this.before = before;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame((time) => this.tick(time));
  }

  tick(time) {
    if (!this.isPlaying) return;
    const passed = Math.max(0, time - this.before) * Number(byId("replay-speed").value);
    this.seek(this.at + passed);
    if (this.at >= this.length) this.play(false);
    else this.advance(Math.max(time, this.before));
  }

  seek(at) {
    this.at = Math.min(Math.max(at, 0), this.length);
    this.draw();
    this.redraw();
  }

  draw() {
    const [at, length] = [this.at, this.length].map(formatDuration);
    this.slider.max = this.length;
    this.slider.value = this.at;
    this.slider.setAttribute("aria-valuetext", this.translate("replay.at", { at, length }));
    setText(byId("replay-time"), this.translate("replay.at", { at, length }));
  }
}
