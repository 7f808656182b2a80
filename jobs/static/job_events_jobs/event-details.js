/**
 * The selected event: its data as a tree, and its text with the colours of terminals.
 */
import { jsonText, jsonTree, textBlock } from "../job_events/json-tree.js";
import { formatInstant } from "../job_events/time-format.js";
import { asText, asTime, eventData } from "../job_events/untrusted.js";
import { copyFrom } from "./copy-button.js";
import { element, setText, smallButton } from "./elements.js";
import { Entries } from "./event-entries.js";

const ESCAPE = "\x1b[";
const ANSI_CHARS = 50_000;
/** @type {((text: string) => (Node|string)[])|null} Loaded when the first text has escape codes. */
let ansiNodes = null;

/** Fills a node with a text; `again` is called when the parser of escape codes has been loaded. */
export function fillWithAnsi(node, text, again) {
  if (!text.includes(ESCAPE)) return setText(node, text);
  if (ansiNodes) return node.replaceChildren(...ansiNodes(text.slice(0, ANSI_CHARS)));
  setText(node, text.replace(/\x1b\[[\d;]*m/g, ""));
  import("./ansi.js").then((module) => {
    ansiNodes = module.ansiNodes;
    again();
  }, () => {});
}

export class EventDetails {
  constructor(tab) {
    Object.assign(this, { tab, translate: tab.translate, shown: null, isShown: false });
    this.node = element("aside", { class: "event-details", "aria-label": this.translate("events.selected") });
    this.node.hidden = true;
  }

  /**
   * @param {string|null} id
   * @param {import("./event-entries.js").Entry|undefined} entry  If the page has the event.
   * @param {boolean} isLoaded  True if the page will not receive it by itself.
   */
  show(id, entry, isLoaded) {
    if (id !== this.shown) Object.assign(this, { shown: id, isShown: false, isRequested: false });
    this.node.hidden = id === null;
    if (id === null || this.isShown) return;
    if (entry) this.fill(entry);
    else if (isLoaded) this.request(id);
  }

  fill(entry) {
    this.isShown = true;
    const { event } = entry;
    const time = asTime(event.timestamp);
    const close = smallButton(this.translate("events.close"), () => this.close());
    const text = this.textOf(event);
    this.node.replaceChildren(
      element("header", {}, element("h2", { dir: "auto" }, entry.type || "–"), close),
      element("dl", { class: "event-facts" },
        ...this.fact("events.time", time === null ? asText(event.timestamp) || "–" : formatInstant(time, this.tab.page.timeZone)),
        ...this.fact("events.id", event.id),
        ...(entry.level ? this.fact("events.level", this.translate(`level.${entry.level}`)) : []),
        ...(entry.attempt === null ? [] : this.fact("events.attemptNumber", String(entry.attempt)))),
      ...(text ? [text] : []),
      jsonTree(event.data, { translate: this.translate, open: 3 }),
      element("p", { class: "event-actions" },
        (this.copyJson = this.copyButton("events.copy", () => jsonText(event) ?? "")),
        this.copyButton("events.copyLink", () => new URL(this.tab.linkTo(event.id), location.href).href),
        ...this.spanButton(event)),
    );
  }

  /** A message of several lines or with escape codes, which the tree would show as data. */
  textOf(event) {
    const { message, text } = eventData(event);
    const shown = typeof message === "string" ? message : typeof text === "string" ? text : "";
    if (!shown.includes(ESCAPE)) return null;
    const block = textBlock("", { translate: this.translate });
    fillWithAnsi(block, shown, () => fillWithAnsi(block, shown, () => {}));
    return block;
  }

  spanButton(event) {
    const { page } = this.tab;
    const span = page.model.spanOf(event.id);
    return span ? [smallButton(this.translate("events.showSpan"), () => page.select({ span: span.id }))] : [];
  }

  fact(name, value) {
    return [element("dt", {}, this.translate(name)), element("dd", { dir: "auto" }, value)];
  }

  copyButton(name, value) {
    const made = smallButton(this.translate(name), () => copyFrom(made, value(), this.tab.page));
    return made;
  }

  /** Copies the shown event as JSON. */
  copy() {
    if (this.isShown) this.copyJson?.click();
  }

  close() {
    const id = this.shown;
    this.tab.select(null);
    this.tab.list.node(id)?.querySelector("a").focus({ preventScroll: true });
  }

  /** Reads an event that is not in the part of the log that the page has. */
  async request(id) {
    if (this.isRequested) return;
    this.isRequested = true;
    const [ms, sequence] = String(id).split("-");
    const query = new URLSearchParams({ before: `${ms}-${BigInt(/^\d+$/.test(sequence) ? sequence : 0) + 1n}`, order: "desc", limit: "1" });
    const response = await fetch(`${this.tab.eventsUrl}?${query}`, { headers: { Accept: "application/json" } }).catch(() => null);
    const [event] = response?.ok ? ((await response.json().catch(() => null))?.results ?? []) : [];
    if (this.shown !== id || this.isShown) return;
    if (event?.id === id) this.fill(new Entries().entryOf(event));
    else this.showMissing();
  }

  showMissing() {
    this.isShown = true;
    const close = smallButton(this.translate("events.close"), () => this.close());
    this.node.replaceChildren(element("header", {}, element("p", {}, this.translate("events.missing")), close));
  }
}
