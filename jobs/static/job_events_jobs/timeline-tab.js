/**
 * The tab "Timeline": its selection, filter and attempts are in the URL.
 */
import { TimelineView } from "../job_events/timeline-view.js";

/** Many events a second are drawn together; slow drawing takes at most a tenth of the time. */
const REDRAW_MS = 250;
const REDRAW_FACTOR = 10;
const MAX_REDRAW_MS = 2_000;

/**
 * @param {HTMLElement} root
 * @param {any} page  See job-page.js.
 */
export function createTab(root, page) {
  const tab = new TimelineTab(root, page);
  return { draw: (change) => tab.drawSoon(change), show: () => tab.show(), hide: () => tab.hide() };
}

/** In a shadow root, so that the styles of the page and of the timeline do not affect each other. */
class TimelineTab {
  constructor(root, page) {
    this.page = page;
    const host = root.appendChild(document.createElement("div"));
    this.view = new TimelineView(host.attachShadow({ mode: "open" }), {
      translate: page.translate,
      timeZone: page.timeZone,
      keys: document,
      link: (span) => location.origin + page.url.href({ tab: "timeline", span: span.id }),
      eventLink: (id) => page.url.href({ tab: "events", event: id }),
      onSelect: (span, by) => this.selected(span, by),
      onFilter: (filter) => this.filtered(filter),
    });
    /** The step of the URL that is selected. @type {string|null} */
    this.selectedId = null;
    this.isChosen = false;
    this.drawnAt = -Infinity;
    this.interval = REDRAW_MS;
    this.timer = 0;
  }

  show() {
    this.drawnAt = -Infinity;
  }

  hide() {
    clearTimeout(this.timer);
    this.timer = 0;
  }

  drawSoon({ restart = false } = {}) {
    const wait = this.drawnAt + this.interval - performance.now();
    if (wait <= 0 || restart) this.draw();
    else this.timer ||= setTimeout(() => this.draw(), wait);
  }

  draw() {
    this.hide();
    this.drawnAt = performance.now();
    const { model, url } = this.page;
    this.followSpan(model.spans.get(url.get("span")));
    const { attempt, compareWith } = this.page;
    this.view.draw(model, {
      now: this.page.now(),
      attempt,
      compareWith,
      filter: {
        kinds: url.all("kind"),
        errors: url.get("errors") === "1",
        text: url.get("q") ?? "",
      },
    });
    this.selectFromUrl();
    const cost = performance.now() - this.drawnAt;
    this.interval = Math.min(MAX_REDRAW_MS, Math.max(REDRAW_MS, REDRAW_FACTOR * cost));
  }

  /** A link to a step of an earlier attempt shows that attempt. */
  followSpan(span) {
    const { attempt, compareWith, url } = this.page;
    if (!span || span.id === this.selectedId || [attempt, compareWith].includes(span.attempt)) return;
    url.set({ attempt: span.attempt, compare: null });
  }

  /** Selects the step of the URL, or at first the one that made the attempt fail. */
  selectFromUrl() {
    const { model, url, attempt } = this.page;
    const spanId = url.get("span");
    const fatal = model.fatalOf(attempt);
    if (spanId !== this.selectedId) {
      if (this.view.select(spanId)) Object.assign(this, { selectedId: spanId, isChosen: true });
    } else if (spanId === null && !this.isChosen && fatal) {
      this.isChosen = this.view.select(fatal.spanId, { scrolls: false });
    }
  }

  selected(span, by) {
    if (by !== "user") return;
    Object.assign(this, { selectedId: span?.id ?? null, isChosen: true });
    this.page.url.set({ span: this.selectedId });
  }

  filtered({ kinds, errors, text }) {
    this.page.url.set({ kind: kinds, errors: errors ? "1" : null, q: text || null });
  }
}
