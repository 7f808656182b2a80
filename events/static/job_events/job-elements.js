/**
 * Two elements that show a job live, in any page:
 *
 *     <script type="module" src="{% static 'job_events/job-elements.js' %}"></script>
 *     <job-progress job-id="job_001"></job-progress>
 *     <job-timeline job-id="job_001" limit="50"></job-timeline>
 *
 * Attributes: `job-id`; `base-url` and `socket-url` of the API and the sockets, by default /api/jobs/ and
 * /ws/jobs/; `ticket-url`, which issues tickets by POST, for pages of another origin; `labels`, JSON of
 * labels by status. Elements of one job share one connection.
 *
 * The DOM events `job-event`, `job-live` and `job-end` bubble; `detail` is the job event. Style with ::part(status), ::part(message), ::part(percent), ::part(bar), ::part(list),
 * ::part(event), ::part(time), ::part(type) and ::part(text), and with the attributes
 * `data-status` and `data-live`.
 */
import { watchJob } from "./job-events.js";
import { isObject } from "./job-transports.js";

const OVER = new Set(["completed", "failed", "cancelled"]);
const STATUSES = new Set(["pending", "running", ...OVER]);
const LABELS = {
  pending: "Pending",
  running: "Running",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
  connecting: "Connecting …",
  reconnecting: "Reconnecting …",
  refused: "Not available",
};
const LIMIT = 100;
const TEXT_CHARS = 200;
/** Keys that the summary of an event omits. */
const HIDDEN_KEYS = new Set(["event_type", "timestamp", "job_id", "job_status", "task_type", "attempt"]);

// One connection for all elements of a job

/** @type {Map<string, Shared>} */
const shared = new Map();

class Shared {
  constructor(key, jobId, options) {
    this.key = key;
    this.members = new Set();
    this.clear();
    this.watch = watchJob(jobId, {
      ...options,
      onEvent: (event) => {
        this.take(event);
        this.notify("event", event);
      },
      onLive: () => {
        this.isLive = true;
        this.notify("live");
      },
      onEnd: () => {
        this.isOver = true;
        this.notify("end");
      },
      onReset: () => {
        this.clear();
        this.notify("reset");
      },
      onStatus: (status, detail) => {
        this.connection = detail?.refused ? "refused" : status;
        this.notify("connection");
      },
    });
  }

  clear() {
    this.state = { status: "pending", progress: null, message: "", attempt: 1 };
    this.latest = [];
    this.isLive = this.isOver = false;
    this.connection ??= "connecting";
  }

  take(event) {
    applyEvent(this.state, event);
    this.latest.push(event);
    if (this.latest.length > 2 * LIMIT) this.latest.splice(0, LIMIT);
  }

  notify(what, event) {
    for (const member of [...this.members]) member.update(what, event);
  }

  join(member) {
    this.members.add(member);
  }

  leave(member) {
    this.members.delete(member);
    if (this.members.size) return;
    this.watch.close();
    shared.delete(this.key);
  }
}

/** Applies an event to the state. Any program may have published it: every field is validated. */
function applyEvent(state, event) {
  const data = asObject(event.data);
  const progress = Number.parseFloat(data.progress ?? data.progress_percent);
  if (event.event_type === "job_retried") Object.assign(state, { progress: null, message: "" });
  if (event.event_type === "task_progress" && Number.isFinite(progress)) {
    state.progress = Math.min(100, Math.max(0, progress));
  }
  if (event.event_type === "task_started" && state.status === "pending") state.status = "running";
  if (typeof data.message === "string") state.message = data.message;
  if (event.event_type === "phase_update" && typeof data.phase === "string") state.message = data.phase;
  if (typeof data.error === "string" && data.error) state.message = data.error;
  if (STATUSES.has(data.job_status)) state.status = data.job_status;
  if (state.status === "completed") Object.assign(state, { progress: 100, message: "" });
}

const asObject = (value) => (isObject(value) ? value : {});

// The elements

class JobElement extends HTMLElement {
  static observedAttributes = ["job-id", "base-url", "socket-url", "ticket-url"];

  constructor() {
    super();
    this.root = this.attachShadow({ mode: "open" });
    this.source = null;
  }

  connectedCallback() {
    this.begin();
  }

  disconnectedCallback() {
    this.end();
  }

  attributeChangedCallback(_name, before, after) {
    if (this.isConnected && before !== after) this.begin();
  }

  begin() {
    this.end();
    const jobId = this.getAttribute("job-id");
    this.build();
    if (!jobId) return;
    const names = { baseUrl: "base-url", socketUrl: "socket-url" };
    const options = Object.fromEntries(
      Object.entries(names).flatMap(([key, name]) => (this.hasAttribute(name) ? [[key, this.getAttribute(name)]] : [])),
    );
    const ticketUrl = this.getAttribute("ticket-url");
    if (ticketUrl) options.ticket = () => fetchTicket(ticketUrl);
    const key = JSON.stringify([jobId, options, ticketUrl]);
    if (!shared.has(key)) shared.set(key, new Shared(key, jobId, options));
    this.source = shared.get(key);
    this.source.join(this);
    this.draw(true);
  }

  end() {
    this.source?.leave(this);
    this.source = null;
  }

  update(what, event) {
    this.dataset.live = String(this.source.isLive && this.source.connection !== "reconnecting");
    this.draw(what === "reset", event);
    if (what in BUBBLES) {
      this.dispatchEvent(new CustomEvent(BUBBLES[what], { bubbles: true, composed: true, detail: event ?? null }));
    }
  }

  label(name) {
    try {
      return String(asObject(JSON.parse(this.getAttribute("labels") ?? "{}"))[name] ?? LABELS[name] ?? name);
    } catch {
      return LABELS[name] ?? name;
    }
  }

  /** Creates an element. Text is added with setText, never as markup. */
  make(name, part, attributes = {}) {
    const node = document.createElement(name);
    if (part) node.setAttribute("part", part);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  style(css) {
    const sheet = new CSSStyleSheet(); // works under a CSP without inline styles
    sheet.replaceSync(`:host { display: block; font: inherit; } :host([hidden]) { display: none; } ${css}`);
    this.root.adoptedStyleSheets = [sheet];
  }
}

const BUBBLES = { event: "job-event", live: "job-live", end: "job-end" };

async function fetchTicket(url) {
  const response = await fetch(url, { method: "POST", credentials: "include" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return (await response.json()).ticket;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

class JobProgress extends JobElement {
  build() {
    this.style(`
      [part=line] { display: flex; gap: .5em; align-items: baseline; }
      [part=message] { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; opacity: .8; }
      [part=percent] { font-variant-numeric: tabular-nums; }
      [part=status] { font-weight: 600; }
      progress { width: 100%; }`);
    this.status = this.make("span", "status", { role: "status" });
    this.message = this.make("span", "message", { dir: "auto" });
    this.percent = this.make("span", "percent", { "aria-hidden": "true" });
    this.bar = this.make("progress", "bar", { max: "100" });
    const line = this.make("div", "line");
    line.append(this.status, this.message, this.percent);
    this.root.replaceChildren(line, this.bar);
  }

  draw() {
    const { state, isLive, connection } = this.source;
    const away = connection === "refused" || (!isLive && connection !== "ended") ? connection : "";
    this.dataset.status = state.status;
    this.bar.hidden = away === "refused";
    const isKnown = away !== "refused" && (isLive || this.source.latest.length > 0);
    setText(this.status, this.label(isKnown ? state.status : away || "connecting"));
    setText(this.message, state.message);
    this.bar.setAttribute("aria-label", this.label(state.status));
    if (state.progress === null && state.status === "running") this.bar.removeAttribute("value");
    else this.bar.value = state.progress ?? 0;
    setText(this.percent, state.progress === null ? "" : `${Math.round(state.progress)} %`);
  }
}

class JobTimeline extends JobElement {
  build() {
    this.style(`
      ol { list-style: none; margin: 0; padding: 0; }
      ol, li { display: grid; grid-template-columns: auto auto minmax(0, 1fr); column-gap: .75em; }
      li { grid-column: 1 / -1; grid-template-columns: subgrid; padding: .15em 0; }
      time { font-variant-numeric: tabular-nums; opacity: .7; }
      [part=type] { font-weight: 600; }
      [part=text] { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }`);
    this.list = this.make("ol", "list", { role: "log", "aria-live": "polite" });
    this.root.replaceChildren(this.list);
  }

  get limit() {
    const limit = Number.parseInt(this.getAttribute("limit") ?? "", 10);
    return limit > 0 ? Math.min(limit, LIMIT) : LIMIT;
  }

  draw(redraw, event) {
    this.dataset.status = this.source.state.status;
    if (redraw) this.list.replaceChildren(...this.source.latest.slice(-this.limit).map((each) => this.row(each)));
    else if (event) this.list.append(this.row(event));
    while (this.list.childElementCount > this.limit) this.list.firstElementChild.remove();
  }

  row(event) {
    const data = asObject(event.data);
    const time = Date.parse(event.timestamp);
    const clock = this.make("time", "time");
    if (!Number.isNaN(time)) {
      clock.dateTime = new Date(time).toISOString();
      setText(clock, new Date(time).toLocaleTimeString(document.documentElement.lang || undefined));
    }
    const type = this.make("span", "type");
    setText(type, String(event.event_type ?? "").replaceAll("_", " "));
    const text = this.make("span", "text", { dir: "auto" });
    setText(text, summarize(data));
    const row = this.make("li", "event", { "data-event-id": event.id });
    row.append(clock, type, text);
    return row;
  }
}

/** Summarizes the data of an event in one line. */
function summarize(data) {
  const words = [];
  for (const [key, value] of Object.entries(data)) {
    if (HIDDEN_KEYS.has(key) || value === null || value === "") continue;
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    words.push(key === "message" || key === "text" ? text : `${key}: ${text}`);
  }
  return words.join(" · ").replace(/\s+/g, " ").slice(0, TEXT_CHARS);
}

customElements.define("job-progress", JobProgress);
customElements.define("job-timeline", JobTimeline);
