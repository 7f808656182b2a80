/**
 * Custom elements that show a job in any page:
 *
 *     <script type="module" src="{% static 'job_events/job-elements.js' %}"></script>
 *     <job-progress job-id="{{ job.job_id }}"></job-progress>
 *     <job-timeline job-id="{{ job.job_id }}"></job-timeline>
 *
 * They follow the job live, insert no markup from events, and need no Trusted Types policy. Attributes, parts,
 * custom properties and DOM events are in docs/reference.md, "Browser client".
 */
import { joinLog } from "./element-log.js";
import { TERMINAL } from "./job-attempts.js";
import { adoptStyles } from "./style-sheets.js";
import { formatInstant, formatMs, language } from "./time-format.js";
import { asObject } from "./untrusted.js";

const LABELS = {
  pending: "Pending",
  running: "Running",
  waiting: "Waiting for input",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
  loading: "Connecting…",
  connecting: "Connecting…",
  reconnecting: "Reconnecting…",
  refused: "Not available",
  handled: "Handled errors: {count}",
  percent: "{percent}%",
  "fact.started": "Started",
  "fact.duration": "Duration",
  "fact.queue": "Waited in queue",
  "fact.first": "First event after",
  "fact.attempt": "Attempt",
  "fact.calls": "Model calls",
  "fact.tokens": "Tokens in / out",
};
const FACTS = ["duration", "queue", "first", "attempt", "calls", "tokens", "started"];
const BUBBLES = { event: "job-event", live: "job-live", end: "job-end" };
/** Many events a second are drawn together. */
const TIMELINE_MS = 250;
const ROW_PX = 28;
/** Longer texts are cut before the style cuts them. */
const TEXT_CHARS = 2_000;
const numbers = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

class JobElement extends HTMLElement {
  static observedAttributes = ["job-id", "base-url", "socket-url", "ticket-url", "labels", "time-zone", "limit", "height"];

  constructor() {
    super();
    this.root = this.attachShadow({ mode: "open" });
    this.source = null;
    this.isBegun = false;
  }

  connectedCallback() {
    this.isBegun = true;
    this.begin();
  }

  disconnectedCallback() {
    this.isBegun = false;
    this.end();
  }

  /** Also called for each attribute before the element is connected. */
  attributeChangedCallback(_name, before, after) {
    if (this.isBegun && before !== after) this.begin();
  }

  begin() {
    this.end();
    this.labels = this.readLabels();
    this.build();
    const jobId = this.getAttribute("job-id");
    if (!jobId) return;
    const [baseUrl, socketUrl, ticketUrl] = ["base-url", "socket-url", "ticket-url"].map((name) => this.getAttribute(name));
    this.source = joinLog({ jobId, baseUrl, socketUrl, ticketUrl }, this);
    this.redraw();
  }

  end() {
    this.source?.leave(this);
    this.source = null;
  }

  update(what, event) {
    this.dispatchEvent(new CustomEvent(BUBBLES[what], { bubbles: true, composed: true, detail: event }));
  }

  redraw() {
    if (!this.source) return;
    const { isLive, log, model } = this.source;
    this.dataset.live = String(isLive && log.status !== "reconnecting");
    this.dataset.status = model.status;
    this.draw(this.source);
  }

  readLabels() {
    try {
      return { ...LABELS, ...asObject(JSON.parse(this.getAttribute("labels") ?? "{}")) };
    } catch {
      return LABELS;
    }
  }

  label(name, values = {}) {
    return String(this.labels[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => String(values[key] ?? whole));
  }

  /** Creates an element. Text is added with setText, never as markup. */
  make(name, part, attributes = {}) {
    const node = document.createElement(name);
    if (part) node.setAttribute("part", part);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  style(css) {
    adoptStyles(this.root, `:host { display: block; font: inherit; } :host([hidden]), [hidden] { display: none !important; } ${css}`);
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

class JobProgress extends JobElement {
  build() {
    this.style(`
      :host {
        --soft: var(--job-events-soft, light-dark(#615d55, #a6a8aa)); --track: var(--job-events-track, light-dark(#e6e3dc, #34393d));
        --tone: var(--job-events-soft, light-dark(#665f52, #c2bbae)); overflow-wrap: anywhere;
      }
      :host([data-status=running]) { --tone: var(--job-events-running, light-dark(#1c5aa8, #8bbcf5)); }
      :host([data-status=completed]) { --tone: var(--job-events-completed, light-dark(#1f6e38, #84d09a)); }
      :host([data-status=failed]) { --tone: var(--job-events-failed, light-dark(#a9271d, #f39a8f)); }
      :host([data-status=cancelled]) { --tone: var(--job-events-cancelled, light-dark(#6a4a8c, #c7abe6)); }
      [part=line] { display: flex; gap: .25em .75em; align-items: baseline; }
      [part=status] { font-weight: 600; color: var(--tone); white-space: nowrap; }
      [part=status]:not(:empty)::before { content: ""; display: inline-block; inline-size: .55em; block-size: .55em; margin-inline-end: .45em; border-radius: 50%; background: currentcolor; }
      :host([data-status=failed]) [part=status]::before { border-radius: 0; transform: rotate(45deg); }
      :host([data-status=cancelled]) [part=status]::before { border-radius: 0; }
      [part=message] { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--soft); }
      [part=percent], dd { font-variant-numeric: tabular-nums; }
      [part=handled] { padding-inline: .5em; border-radius: 99px; font-size: .85em; white-space: nowrap; color: var(--job-events-handled, light-dark(#7d5200, #e8bb5b)); background: var(--job-events-handled-wash, light-dark(#fbf0d5, #3b2f14)); }
      progress { appearance: none; display: block; width: 100%; height: .5em; margin-block: .35em; border: 0; border-radius: 99px; background: var(--track); overflow: hidden; }
      progress::-webkit-progress-bar { background: var(--track); }
      progress::-webkit-progress-value { background: var(--tone); }
      progress::-moz-progress-bar { background: var(--tone); }
      progress:not([value]) { background: linear-gradient(90deg, var(--track) 30%, var(--tone), var(--track) 70%) 0 / 300% 100%; animation: move 2s linear infinite; }
      progress:not([value])::-webkit-progress-bar { background: none; }
      @keyframes move { from { background-position: 100% 0; } to { background-position: -50% 0; } }
      @media (prefers-reduced-motion: reduce) { progress:not([value]) { animation: none; } }
      [part=error] { margin: .35em 0; color: var(--job-events-failed, light-dark(#a9271d, #f39a8f)); white-space: pre-wrap; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden; }
      [part=facts] { display: flex; flex-wrap: wrap; gap: .25em 1.5em; margin: .35em 0 0; font-size: .875em; }
      [part=fact] { display: flex; gap: .4em; }
      dt { color: var(--soft); } dd { margin: 0; }`);
    this.status = this.make("span", "status", { role: "status" });
    this.handled = this.make("span", "handled");
    this.message = this.make("span", "message", { dir: "auto" });
    this.percent = this.make("span", "percent", { "aria-hidden": "true" });
    this.bar = this.make("progress", "bar", { max: "100", value: "0" });
    this.error = this.make("p", "error", { dir: "auto" });
    this.facts = this.make("dl", "facts");
    this.values = Object.fromEntries(FACTS.map((name) => [name, this.addFact(name)]));
    this.handled.hidden = this.error.hidden = this.facts.hidden = true;
    const line = this.make("div", "line");
    line.append(this.status, this.handled, this.message, this.percent);
    this.root.replaceChildren(line, this.bar, this.error, this.facts);
  }

  draw(source) {
    const { model, log, hasState } = source;
    const isRefused = log.status === "refused";
    const isKnown = hasState && !isRefused && log.status !== "loading";
    const shown = model.status === "running" && model.questions.size ? "waiting" : model.status;
    setText(this.status, this.label(isKnown ? shown : isRefused ? "refused" : log.status === "ended" ? shown : log.status));
    this.bar.hidden = isRefused;
    this.bar.setAttribute("aria-label", this.label(shown));
    if (!isKnown) return;
    const place = [model.phase, model.message].filter(Boolean).join(" · ");
    setText(this.message, model.status === "completed" ? "" : place.slice(0, TEXT_CHARS));
    if (model.progress === null && model.status === "running") this.bar.removeAttribute("value");
    else this.bar.value = model.progress ?? 0;
    const percent = model.progress === null ? "" : this.label("percent", { percent: Math.round(model.progress) });
    setText(this.percent, percent);
    this.drawErrors(model);
    this.drawFacts(source);
  }

  drawErrors(model) {
    const { fatal, handledErrors } = model;
    this.error.hidden = !fatal?.message;
    if (fatal) setText(this.error, [fatal.type, fatal.message].filter(Boolean).join(": ").slice(0, TEXT_CHARS));
    this.handled.hidden = !handledErrors;
    if (handledErrors) setText(this.handled, this.label("handled", { count: numbers.format(handledErrors) }));
  }

  drawFacts({ model, now }) {
    const { start, tokens, modelCalls, attempts } = model;
    const until = TERMINAL.has(model.status) ? (model.end ?? start) : now;
    const span = (seconds) => (seconds === null ? "" : formatMs(seconds * 1000));
    this.setFact("duration", start === null ? "" : formatMs(Math.max(0, until - start)));
    this.setFact("queue", span(model.queueSeconds));
    this.setFact("first", span(model.firstEventSeconds));
    this.setFact("attempt", attempts.length > 1 || model.attempt > 1 ? numbers.format(model.attempt) : "");
    this.setFact("calls", modelCalls ? numbers.format(modelCalls) : "");
    this.setFact("tokens", tokens ? `${numbers.format(tokens.input)} / ${numbers.format(tokens.output)}` : "");
    this.setFact("started", start === null ? "" : formatInstant(start, this.getAttribute("time-zone") || undefined).replace(/\.\d+/, ""));
    this.facts.hidden = FACTS.every((name) => this.values[name].parentNode.hidden);
  }

  addFact(name) {
    const group = this.make("div", "fact", { "data-fact": name });
    const [term, value] = [this.make("dt", "label"), this.make("dd", "value")];
    setText(term, this.label(`fact.${name}`));
    group.append(term, value);
    group.hidden = true;
    this.facts.append(group);
    return value;
  }

  setFact(name, text) {
    this.values[name].parentNode.hidden = !text;
    setText(this.values[name], text);
  }
}

class JobTimeline extends JobElement {
  build() {
    this.revealed = null;
    this.drawnAt = -Infinity;
    this.style(`
      [part=timeline][data-scrolls] { overflow: auto; --job-events-sticky: 0px; }
      [part=timeline][data-limited] .grid { max-block-size: var(--limit); overflow: auto; --job-events-sticky: 0px; }`);
    this.box = this.make("div", "timeline");
    this.setHeight();
    this.root.replaceChildren(this.box);
    this.load(this.box);
  }

  /** Without `height` and `limit` the timeline scrolls with the page. */
  setHeight() {
    const height = this.getAttribute("height");
    const limit = Number.parseInt(this.getAttribute("limit") ?? "", 10);
    this.box.toggleAttribute("data-scrolls", Boolean(height));
    this.box.toggleAttribute("data-limited", limit > 0);
    if (height) this.box.style.setProperty("block-size", height);
    if (limit > 0) this.box.style.setProperty("--limit", `${(limit + 1) * ROW_PX + 2}px`);
  }

  /** The timeline is loaded by pages that show one. */
  async load(box) {
    const [{ TimelineView }, { withEnglish }] = await Promise.all([import("./timeline-view.js"), import("./timeline-texts.js")]);
    if (this.box !== box) return;
    this.view = new TimelineView(box, {
      translate: withEnglish((name, values) => this.label(name, values)),
      timeZone: this.getAttribute("time-zone") || undefined,
    });
    // Scroll events do not leave a shadow root, where the list would receive them.
    box.addEventListener("scroll", this.view.timeline.list.schedule, { passive: true, capture: true });
    this.redraw();
  }

  end() {
    super.end();
    clearTimeout(this.timer);
    this.timer = 0;
    this.view?.timeline.close();
    this.view = this.box = null; // a load that has not finished creates no view
  }

  draw({ model, log, now }) {
    if (!this.view || log.status === "loading") return;
    const wait = this.drawnAt + TIMELINE_MS - performance.now();
    if (wait > 0) {
      this.timer ||= setTimeout(() => this.redraw((this.timer = 0)), wait);
      return;
    }
    this.drawnAt = performance.now();
    this.view.draw(model, { now });
    this.revealFatal(model.fatal);
  }

  /** Scrolls a timeline with its own scroller to the error that ended the job, once. */
  revealFatal(fatal) {
    if (!fatal?.spanId || this.revealed === fatal.spanId) return;
    this.revealed = fatal.spanId;
    const { list, tree } = this.view.timeline;
    const index = list.indexes.get(tree.bySpan.get(fatal.spanId)?.key);
    if (index === undefined) return;
    for (const scroller of [this.box, this.box.querySelector(".grid")]) {
      const top = list.root.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop;
      scroller.scrollTop = top + index * ROW_PX - scroller.clientHeight / 2;
    }
  }
}

customElements.define("job-progress", JobProgress);
customElements.define("job-timeline", JobTimeline);
