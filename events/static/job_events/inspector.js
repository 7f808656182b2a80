/**
 * The details of one step: times, input, output, error and events.
 */
import { copyText } from "./clipboard.js";
import { jsonTree, jsonTreeStyles, textBlock } from "./json-tree.js";
import { formatCount, formatInstant, formatMs, formatOffset } from "./time-format.js";
import { asLine } from "./span-events.js";
import { adoptStyles } from "./style-sheets.js";
import { LETTERS, make, setText, statusOf } from "./timeline-row.js";
import { pathOf, waitOf } from "./timeline-rows.js";
import { addTimelineStyles } from "./timeline-styles.js";
import { eventData } from "./untrusted.js";

const PATH_NAMES = 12;
const COPIED_MS = 1_500;
/** Drawing of a step that is running is repeated at most this often. */
const REDRAW_MS = 1_000;

export class Inspector {
  /**
   * @param {Element|ShadowRoot} root
   * @param {{
   *   translate: (name: string, values?: Record<string, unknown>) => string,
   *   timeZone?: string,
   *   onClose?: () => void,
   *   onStep?: (direction: 1|-1) => void,
   *   link?: (span: object) => string,
   *   eventLink?: (eventId: string) => string,
   * }} options
   */
  constructor(root, { translate, timeZone, onClose, onStep, link, eventLink }) {
    Object.assign(this, { translate, timeZone, onClose, onStep, link, eventLink });
    this.span = null;
    const scope = root.getRootNode();
    addTimelineStyles(scope);
    adoptStyles(scope, jsonTreeStyles);
    this.root = make("aside", "job-events-inspector");
    this.root.setAttribute("aria-label", this.translate("inspector.label"));
    this.root.hidden = true;
    root.append(this.root);
  }

  /**
   * @param {import("./job-spans.js").Span|null} span
   * @param {import("./job-model.js").JobModel} model
   */
  show(span, model) {
    if (!span) return this.hide();
    const isSame = this.span === span;
    this.model = model;
    // Only what is still running changes; redrawing would close the details that are open.
    if (isSame && (this.drawn === stateOf(span) || performance.now() - this.drawnAt < REDRAW_MS)) return undefined;
    Object.assign(this, { span, drawn: stateOf(span), drawnAt: performance.now() });
    const open = isSame ? [...this.root.querySelectorAll("details")].map((each) => each.open) : [];
    this.root.replaceChildren(...this.parts(span, model));
    if (isSame) this.root.querySelectorAll("details").forEach((each, at) => (each.open = open[at] ?? each.open));
    this.root.hidden = false;
    if (!isSame) this.root.scrollTop = 0;
    return undefined;
  }

  hide() {
    this.span = null;
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  /** Moves the focus to the heading. */
  focus() {
    this.root.querySelector("h2")?.focus({ preventScroll: true });
  }

  parts(span, model) {
    return [
      this.head(span),
      this.facts(span, model),
      this.actions(span),
      this.error(span),
      this.section("input", span.input),
      this.section("output", span.output),
      this.text(span),
      this.events(span),
      this.keys(),
    ].filter(Boolean);
  }

  head(span) {
    const head = make("div", "head");
    const kind = make("span", "kind");
    kind.textContent = LETTERS[span.kind] ?? "S";
    kind.setAttribute("role", "img");
    kind.setAttribute("aria-label", this.translate(`kind.${span.kind}`));
    const title = make("h2", "");
    title.tabIndex = -1;
    title.dir = "auto";
    title.textContent = span.name;
    const state = make("span", "state");
    state.textContent = this.translate(`span.${statusOf(span)}`);
    head.append(kind, title, state);
    if (this.onStep) head.append(this.icon("previous", "↑", () => this.onStep(-1)), this.icon("next", "↓", () => this.onStep(1)));
    head.append(this.icon("close", "✕", () => this.onClose?.()));
    head.dataset.kind = span.kind;
    mark(head, span);
    return head;
  }

  icon(name, sign, onClick) {
    const button = make("button", "icon");
    button.type = "button";
    button.textContent = sign;
    button.title = this.translate(`inspector.${name}`);
    button.setAttribute("aria-label", button.title);
    button.addEventListener("click", onClick);
    return button;
  }

  facts(span, model) {
    const attempt = model.attempts.find(({ number }) => number === span.attempt);
    const origin = attempt?.start ?? span.start;
    const list = make("dl", "");
    const add = (name, ...content) => {
      if (!content.some((each) => each !== "" && each !== null)) return;
      const term = make("dt", "");
      term.textContent = this.translate(`inspector.${name}`);
      const value = make("dd", "");
      value.dir = "auto";
      value.append(...content.filter((each) => each !== null));
      list.append(term, value);
    };
    add("path", shortPath(span));
    add("started", formatOffset(span.start - origin), soft(` ${formatInstant(span.start, this.timeZone)}`));
    add("duration", ...this.duration(span));
    const wait = waitOf(span);
    if (wait) add("queue", formatMs(wait));
    if (model.attempts.length > 1) add("attempt", String(span.attempt));
    if (span.step !== null && span.step !== undefined) add("step", String(span.step));
    add("tokens", this.tokens(span));
    const firstToken = Number(eventData(span.events.at(-1) ?? {}).seconds_to_first_token);
    if (firstToken > 0) add("firstToken", formatMs(firstToken * 1000));
    if (span.events[0]) add("event", this.eventId(span.events[0].id));
    return list;
  }

  duration(span) {
    if (span.end === null) return [this.translate("span.running")];
    const note = span.endIsInferred ? soft(` ${this.translate("timeline.inferred")}`) : null;
    return [formatMs(span.end - span.start), note];
  }

  tokens({ usage }) {
    // Of a model, or of a graph by model.
    const all = [usage, ...Object.values(usage ?? {})];
    const sum = (name) => all.reduce((total, each) => total + (Number(each?.[name]) || 0), 0);
    const [input, output] = [sum("input_tokens"), sum("output_tokens")];
    return input || output ? this.translate("inspector.inOut", { input: formatCount(input), output: formatCount(output) }) : "";
  }

  eventId(id) {
    const code = make("code", "");
    code.textContent = id;
    if (!this.eventLink) return code;
    const link = make("a", "");
    link.href = this.eventLink(id);
    link.append(code);
    return link;
  }

  error(span) {
    if (!span.error) return null;
    const { message, type, traceback } = span.error;
    const box = make("div", "error");
    box.dir = "auto";
    mark(box, span);
    const title = make("strong", "");
    title.textContent = type || this.translate("inspector.error");
    box.append(title, message || "");
    if (traceback) {
      const text = textBlock(String(traceback), { translate: this.translate });
      text.setAttribute("aria-label", this.translate("inspector.traceback"));
      box.append(text);
    }
    return box;
  }

  section(name, value) {
    if (value === null || value === undefined || value === "") return null;
    const part = make("section", "");
    const box = make("div", "box");
    box.append(jsonTree(value, { translate: this.translate, open: 2 }));
    part.append(this.title(name), box);
    return part;
  }

  title(name, note) {
    const title = make("h3", "");
    title.append(this.translate(`inspector.${name}`));
    if (note) title.append(soft(note));
    return title;
  }

  text(span) {
    const { text } = span;
    if (!text) return null;
    const part = make("section", "");
    part.append(this.title("text"), textBlock(text, { translate: this.translate }));
    if (span.textIsCut) part.append(soft(this.translate("inspector.cut")));
    return part;
  }

  events(span) {
    if (!span.events.length) return null;
    const part = make("section", "");
    part.append(this.title("events", String(span.count)), ...span.events.map((event) => this.event(event)));
    if (span.count > span.events.length) {
      part.append(soft(this.translate("inspector.more", { shown: span.events.length, count: span.count })));
    }
    return part;
  }

  event(event) {
    const details = make("details", "raw");
    const summary = make("summary", "");
    const type = make("code", "");
    type.textContent = String(event.event_type);
    const time = make("time", "");
    time.textContent = formatInstant(Date.parse(event.timestamp), this.timeZone).split(" ")[1] ?? "";
    summary.append(type, time, soft(messageOf(event)));
    details.append(summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) details.append(jsonTree(event, { translate: this.translate, open: 3 }));
    });
    return details;
  }

  actions(span) {
    const foot = make("div", "actions");
    foot.append(this.action("copyJson", () => this.copyJson()));
    if (this.link) foot.append(this.action("copyLink", () => copyText(this.link(span))));
    this.note = make("span", "soft");
    this.note.setAttribute("role", "status");
    foot.append(this.note);
    return foot;
  }

  keys() {
    const keys = make("p", "keys");
    keys.textContent = this.translate("inspector.keys");
    return keys;
  }

  action(name, run) {
    const button = make("button", "action");
    button.type = "button";
    button.textContent = this.translate(`inspector.${name}`);
    button.addEventListener("click", () => this.report(run()));
    return button;
  }

  /** Copies the step and its events. */
  copyJson() {
    return copyText(JSON.stringify(asJson(this.span), null, 2));
  }

  async report(copying) {
    const isCopied = await copying;
    setText(this.note, this.translate(isCopied ? "inspector.copied" : "inspector.notCopied"));
    setTimeout(() => setText(this.note, ""), COPIED_MS);
  }
}

/** What the details show of a step, to see whether they changed. */
const stateOf = (span) => `${span.status} ${span.end} ${span.count} ${span.endIsInferred}`;

function mark(node, span) {
  node.dataset.status = statusOf(span);
  node.dataset.origin = "true";
}

/** @returns {string} The text of the event, shortened. */
function messageOf(event) {
  const { message, error, text } = eventData(event);
  return asLine(message ?? error ?? text);
}

function shortPath(span) {
  const names = pathOf(span);
  if (names.length > PATH_NAMES) names.splice(PATH_NAMES / 2, names.length - PATH_NAMES, "…");
  return names.join(" › ");
}

function soft(text) {
  const node = make("span", "soft");
  node.textContent = text;
  return node;
}

function asJson(span) {
  const { id, kind, name, attempt, status, error, input, output, usage, text, events, count } = span;
  const time = (ms) => (ms === null ? null : new Date(ms).toISOString());
  const seconds = span.end === null ? null : (span.end - span.start) / 1000;
  return {
    run_id: id, parent_run_id: span.parent?.id ?? null, kind, name, path: pathOf(span), attempt, status,
    start: time(span.start), end: time(span.end), seconds, error, input, output, usage, text: text || null,
    event_count: count, events,
  };
}
