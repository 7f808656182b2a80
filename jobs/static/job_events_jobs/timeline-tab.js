/**
 * The tab "Timeline": its selection, filter and attempts are in the URL.
 */
import { TimelineView } from "../job_events/timeline-view.js";

/** Many events a second are drawn together. */
const REDRAW_MS = 250;
/** Bars of running steps grow. */
const GROW_MS = 1_000;

/**
 * @param {HTMLElement} root
 * @param {any} page  See job-page.js.
 */
export function createTab(root, page) {
  const tab = new TimelineTab(root, page);
  return { draw: (change) => tab.drawSoon(change), show: () => tab.show(), hide: () => tab.hide() };
}

/** In a shadow root, so that the styles of the page and of the timeline do not meet. */
class TimelineTab {
  constructor(root, page) {
    this.page = page;
    this.view = new TimelineView(root.attachShadow({ mode: "open" }), {
      translate: page.translate,
      timeZone: page.timeZone,
      keys: document,
      link: (span) => linkTo({ tab: "timeline", span: span.id }),
      eventLink: (id) => linkTo({ tab: "events", event: id }),
      onSelect: (span, by) => this.selected(span, by),
      onFilter: (filter) => this.filtered(filter),
    });
    /** The selection of the URL that was applied. */
    this.applied = null;
    this.drawnAt = -Infinity;
    this.timer = 0;
    this.show();
  }

  show() {
    this.growing ||= setInterval(() => this.grow(), GROW_MS);
    this.draw();
  }

  hide() {
    clearInterval(this.growing);
    clearTimeout(this.timer);
    this.growing = this.timer = 0;
  }

  grow() {
    if (this.view.timeline.tree?.isRunning && !this.page.isPlayback) this.draw();
  }

  drawSoon({ restart = false } = {}) {
    if (restart) this.applied = null;
    const wait = this.drawnAt + REDRAW_MS - performance.now();
    if (wait <= 0) this.draw();
    else this.timer ||= setTimeout(() => this.draw(), wait);
  }

  draw() {
    this.timer = 0;
    this.drawnAt = performance.now();
    const { model, url } = this.page;
    this.view.draw(model, {
      now: this.page.now(),
      attempt: number(url.get("attempt")),
      compareWith: number(url.get("compare")),
      filter: { kinds: (url.get("kind") ?? "").split(",").filter(Boolean), errors: url.get("errors") === "1", text: url.get("q") ?? "" },
    });
    this.selectAsAsked();
  }

  /** Selects the step of the URL, or at first the one that made the job fail. */
  selectAsAsked() {
    const { model, url } = this.page;
    const asked = url.get("span");
    const wanted = asked ?? (this.applied === null && model.status === "failed" ? model.fatal?.spanId : null) ?? null;
    if (wanted === this.applied || (wanted === null && this.applied === null)) return;
    if (this.view.select(wanted, { isAsked: asked !== null })) this.applied = wanted;
  }

  selected(span, by) {
    if (by !== "user") return;
    this.applied = span?.id ?? "";
    this.page.url.set({ span: span?.id ?? null });
  }

  filtered({ kinds, errors, text }) {
    this.page.url.set({ kind: kinds.join(",") || null, errors: errors ? "1" : null, q: text || null });
  }
}

const number = (text) => (/^\d{1,5}$/.test(text ?? "") ? Number(text) : null);

function linkTo(values) {
  const link = new URL(location.href);
  for (const [name, value] of Object.entries(values)) link.searchParams.set(name, value);
  return link.href;
}
