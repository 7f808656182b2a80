/**
 * The raw list of events. The page contains rows of the latest events only, so that it stays fast with
 * many thousands; a button shows earlier ones.
 */
import { byId, element, setText, Tail } from "./elements.js";
import { formatClock, formatNumber, formatTime } from "./page-text.js";
import { asObject, asText, asTime, eventData } from "../job_events/untrusted.js";

const STEP = 500;
/** Rows are removed in batches. */
const SLACK = 100;
const GIST_CHARS = 160;
const SHOWN_ELSEWHERE = new Set([
  "event_type", "timestamp", "job_id", "task_type", "run_id", "parent_run_id",
]);

/** @param {(name: string, values?: Object) => string} translate */
export function createEventList(translate) {
  const list = new EventList(translate);
  byId("event-type").addEventListener("change", (change) => list.filter(change.target.value));
  byId("earlier").addEventListener("click", () => list.showEarlier());
  byId("to-end").addEventListener("click", () => list.goToEnd());
  list.scroller.addEventListener("scroll", () => list.atScroll(), { passive: true });
  return list;
}

class EventList {
  constructor(translate) {
    this.translate = translate;
    this.scroller = byId("events-scroll");
    this.tail = new Tail(this.scroller);
    this.rows = byId("events");
    this.types = new Set();
    this.clear();
  }

  /** Discards all events, and the type filter unless `keepType`. */
  clear({ keepType = false } = {}) {
    this.events = [];
    if (!keepType) byId("event-type").value = this.type = "";
    this.cap = STEP;
    this.restart();
  }

  /** @param {import("../job_events/job-events.js").JobEvent[]} events */
  add(events) {
    for (const event of events) {
      this.events.push(event);
      this.offerType(asText(event.event_type));
      if (this.type && this.matches(event)) this.shown.push(event);
    }
    this.draw();
  }

  filter(type) {
    this.type = type;
    this.cap = STEP;
    this.restart();
  }

  matches(event) {
    return asText(event.event_type) === this.type;
  }

  restart() {
    this.shown = this.type ? this.events.filter((event) => this.matches(event)) : this.events;
    this.first = this.next = Math.max(0, this.shown.length - this.cap);
    this.rows.replaceChildren();
    this.goToEnd();
  }

  /** Appends rows of new events; removes rows at the top while the list follows its end. */
  draw() {
    this.tail.after(() => {
      if (this.tail.following) this.dropFirst();
      const until = this.tail.following ? this.shown.length : this.heldUntil();
      this.rows.append(...this.shown.slice(this.next, until).map((event) => drawRow(event)));
      this.next = until;
    });
    this.drawCounts();
  }

  /** Limit of rows while the user has scrolled up: none can be removed at the top. */
  heldUntil() {
    return Math.max(this.next, Math.min(this.shown.length, this.first + this.cap + STEP));
  }

  dropFirst() {
    const first = this.shown.length - this.cap;
    if (first - this.first <= SLACK) return;
    const gone = Math.min(first - this.first, this.rows.childElementCount);
    for (let count = 0; count < gone; count += 1) this.rows.firstElementChild.remove();
    this.next = Math.max(this.next, first);
    this.first = first;
  }

  drawCounts() {
    const [shown, total] = [this.shown.length, this.events.length].map(formatNumber);
    setText(byId("event-count"), this.translate(this.type ? "events.filtered" : "events.count", { shown, total }));
    byId("events-empty").hidden = this.shown.length > 0;
    byId("earlier").hidden = this.first === 0;
    setText(byId("earlier"), this.translate("events.earlier", { count: formatNumber(this.first) }));
    this.atScroll();
  }

  showEarlier() {
    const before = this.scroller.scrollHeight - this.scroller.scrollTop;
    const first = Math.max(0, this.first - STEP);
    this.cap += this.first - first;
    this.rows.prepend(...this.shown.slice(first, this.first).map((event) => drawRow(event)));
    this.first = first;
    this.drawCounts();
    this.scroller.scrollTop = this.scroller.scrollHeight - before;
    if (byId("earlier").hidden) this.scroller.focus({ preventScroll: true });
  }

  goToEnd() {
    this.tail.follow();
    this.draw();
  }

  atScroll() {
    if (this.tail.following && this.next < this.shown.length) this.draw();
    byId("to-end").hidden = this.tail.following;
  }

  offerType(type) {
    if (this.types.has(type)) return;
    this.types.add(type);
    const select = byId("event-type");
    const after = [...select.options].slice(1).find((option) => option.value > type);
    select.add(new Option(type, type), after ?? null);
  }
}

function drawRow(event) {
  const time = asTime(event.timestamp);
  const clock = element("time", {}, time === null ? "–" : formatClock(time));
  if (time !== null) {
    clock.setAttribute("datetime", new Date(time).toISOString());
    clock.title = formatTime(time);
  }
  const summary = element(
    "summary",
    {},
    clock,
    element("span", { class: "event-type" }, asText(event.event_type)),
    element("span", { class: "event-gist", dir: "auto" }, gist(eventData(event))),
    element("code", { class: "event-id" }, event.id),
  );
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => details.append(drawJson(event)), { once: true });
  return element("li", { "data-event-id": event.id, "data-event-type": asText(event.event_type) }, details);
}

function drawJson(event) {
  return element("pre", { class: "json", tabindex: "0", dir: "auto" }, JSON.stringify(event, null, 2));
}

/** The keys and values of the event in one line. */
function gist(data) {
  const words = [];
  for (const [key, value] of Object.entries(data)) {
    if (key === "data" && value === asObject(value)) continue; // its keys are in `data`
    if (!SHOWN_ELSEWHERE.has(key) && value !== "" && value !== null) words.push(`${key}: ${brief(value)}`);
    if (words.length === 6) break;
  }
  return words.join(" · ").slice(0, GIST_CHARS);
}

function brief(value, isInner = false) {
  if (Array.isArray(value)) return `[${value.length}]`;
  if (typeof value === "object" && value !== null) return isInner ? "{…}" : briefObject(value);
  return asText(value).slice(0, GIST_CHARS).replace(/\s+/g, " ");
}

function briefObject(value) {
  const own = Object.entries(value).slice(0, 4);
  return `{${own.map(([key, inner]) => `${key}: ${brief(inner, true).slice(0, 40)}`).join(", ")}}`;
}
