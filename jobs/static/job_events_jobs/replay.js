/**
 * Shows the job again as it was at any time of its log: a slider, and playing at any speed. The page has
 * all events; nothing is asked for.
 */
import { byId, setText } from "./elements.js";
import { formatDuration } from "./page-text.js";

/** The slider goes by the times of the log, which are in the ids of its events. */
const timeOf = (event) => Number.parseInt(event.id, 10);

/**
 * @param {(name: string, values?: Object) => string} say
 * @param {() => void} redraw  Called whenever another time is to be shown.
 */
export function createReplay(say, redraw) {
  const replay = new Replay(say, redraw);
  byId("replay-open").addEventListener("click", () => replay.open());
  byId("replay-close").addEventListener("click", () => replay.close());
  byId("replay-play").addEventListener("click", () => replay.toggle());
  byId("replay-speed").addEventListener("change", () => replay.goOn());
  replay.slider.addEventListener("input", () => replay.seek(replay.slider.valueAsNumber));
  return replay;
}

class Replay {
  constructor(say, redraw) {
    Object.assign(this, { say, redraw });
    this.slider = byId("replay-at");
    this.isOn = this.isPlaying = false;
    /** Milliseconds of the log: where the slider is, and how long it is; and the time of its start. */
    this.at = this.length = this.start = 0;
    this.before = 0;
  }

  /** The log as it is known now; it may grow meanwhile. @param {{id: string}[]} log */
  offer(log) {
    this.start = log.length ? timeOf(log[0]) : 0;
    this.length = log.length ? Math.max(0, timeOf(log.at(-1)) - this.start) : 0;
    if (this.isOn && this.length === 0) this.close();
    byId("replay-open").hidden = this.isOn || this.length === 0;
    if (this.isOn) this.draw();
  }

  /** How many of the events there were then; the first is always one of them. */
  count(log) {
    let [low, high] = [1, log.length];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (timeOf(log[middle - 1]) - this.start <= this.at) low = middle;
      else high = middle - 1;
    }
    return Math.min(low, log.length);
  }

  /** The time that is shown, in milliseconds since 1970. */
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
    byId("replay-open").hidden = isOn;
    document.documentElement.toggleAttribute("data-replay", isOn);
  }

  toggle() {
    if (!this.isPlaying && this.at >= this.length) this.at = 0;
    this.play(!this.isPlaying);
  }

  play(isPlaying) {
    const begins = isPlaying && !this.isPlaying;
    this.isPlaying = isPlaying;
    setText(byId("replay-play"), this.say(isPlaying ? "replay.pause" : "replay.play"));
    if (begins) this.goOn();
    this.seek(this.at);
  }

  /** From here, at the speed that is chosen. */
  goOn(before = performance.now()) {
    this.before = before;
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame((time) => this.tick(time));
  }

  tick(time) {
    if (!this.isPlaying) return;
    const passed = Math.max(0, time - this.before) * Number(byId("replay-speed").value);
    this.seek(this.at + passed);
    if (this.at >= this.length) this.play(false);
    else this.goOn(Math.max(time, this.before));
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
    this.slider.setAttribute("aria-valuetext", this.say("replay.at", { at, length }));
    setText(byId("replay-time"), this.say("replay.at", { at, length }));
  }
}
