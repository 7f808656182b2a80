/**
 * The timeline with the details of the selected step beside it: a resizable column, or a sheet on narrow windows.
 */
import { keysEnabled } from "./keys.js";
import { readStored, writeStored } from "./storage.js";
import { make } from "./timeline-row.js";
import { Timeline } from "./timeline.js";

const MIN_PX = 280;
const MAX_PX = 760;
const STEP_PX = 24;
/** Height of the sheet as a share of the window, as in the styles. */
const SHEET_SHARE = 0.6;
const WIDTH_KEY = "job-events-inspector-width";
const narrow = matchMedia("(max-width: 60rem)");
const FIELDS = "input, textarea, select, [contenteditable], dialog, [role=slider]";

export class TimelineView {
  /**
   * @param {Element|ShadowRoot} root
   * @param {{
   *   translate: (name: string, values?: Record<string, unknown>) => string,
   *   timeZone?: string,
   *   onSelect?: (span: object|null, by: "user"|"page") => void,
   *   onFilter?: (filter: object) => void,
   *   link?: (span: object) => string,
   *   eventLink?: (eventId: string) => string,
   *   keys?: EventTarget,
   * }} options  `keys`: where J, K, E, C, / and Escape are received; by default inside `root` only.
   */
  constructor(root, { onSelect, onFilter, keys, ...options }) {
    this.onSelect = onSelect;
    this.root = make("div", "job-events-view");
    const main = make("div", "main");
    this.side = make("div", "side");
    this.root.append(main, this.side);
    root.append(this.root);
    this.timeline = new Timeline(main, { ...options, onFilter, onSelect: (span, by) => this.selected(span, by) });
    this.separator();
    this.side.hidden = true;
    /** Loaded when a step is selected. @type {Promise<import("./inspector.js").Inspector>|null} */
    this.loading = null;
    this.inspector = null;
    this.options = options;
    this.keys = keys ?? this.root;
    this.onKey = (event) => this.keydown(event);
    this.keys.addEventListener("keydown", this.onKey);
  }

  draw(model, options) {
    this.model = model;
    this.timeline.draw(model, options);
    if (this.inspector?.span) this.inspector.show(model.spans.get(this.inspector.span.id) ?? this.inspector.span, model);
  }

  async load() {
    const { Inspector } = await import("./inspector.js");
    this.inspector = new Inspector(this.side, {
      ...this.options,
      onClose: () => this.close(),
      onStep: (direction) => this.timeline.step(direction),
    });
    return this.inspector;
  }

  /**
   * @param {string|null} spanId
   * @param {{scrolls?: boolean}} [options]  By default the page scrolls to the step.
   * @returns {boolean} Whether the step is known.
   */
  select(spanId, { scrolls = true } = {}) {
    this.scrolls = scrolls;
    return this.timeline.select(spanId, { reveal: scrolls });
  }

  selected(span, by) {
    // A sheet that opened by itself would cover the page.
    const isShown = span && (by === "user" || this.scrolls || !narrow.matches);
    this.side.hidden = !isShown;
    this.timeline.coveredBottom = isShown && narrow.matches ? innerHeight * SHEET_SHARE : 0;
    this.inspect(isShown ? span : null, by === "user" && narrow.matches);
    this.onSelect?.(span, by);
  }

  async inspect(span, isFocused) {
    this.shown = span;
    if (!span) return this.inspector?.hide();
    const inspector = await (this.loading ??= this.load());
    if (this.shown !== span) return undefined;
    inspector.show(span, this.model);
    if (isFocused) inspector.focus();
    return undefined;
  }

  close() {
    const row = this.timeline.tree?.bySpan.get(this.timeline.selected);
    this.timeline.select(null, { by: "user" });
    if (row) this.timeline.list.node(row.key)?.focus({ preventScroll: true });
  }

  keydown(event) {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (this.keys !== this.root && event.key.length === 1 && !keysEnabled()) return;
    if (this.root.offsetParent === null || target.closest?.(FIELDS)) return;
    const actions = {
      j: () => this.timeline.step(1),
      k: () => this.timeline.step(-1),
      e: () => this.timeline.nextError(),
      c: () => this.inspector?.span && this.inspector.report(this.inspector.copyJson()),
      "/": () => this.timeline.search.focus(),
      escape: () => this.timeline.selected !== null && this.close(),
    };
    const action = actions[event.key.toLowerCase()];
    if (!action || !this.timeline.tree) return;
    event.preventDefault();
    action();
  }

  // Width of the column

  separator() {
    const handle = (this.handle = make("div", "handle"));
    handle.setAttribute("role", "separator");
    handle.setAttribute("aria-orientation", "vertical");
    handle.setAttribute("aria-label", this.timeline.translate("inspector.resize"));
    handle.setAttribute("aria-valuemin", String(MIN_PX));
    handle.setAttribute("aria-valuemax", String(MAX_PX));
    handle.tabIndex = 0;
    handle.addEventListener("keydown", (event) => this.resizeByKey(event));
    handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) this.resize(this.widthAt(event.clientX));
    });
    this.side.append(handle);
    this.resize(Number(readStored(WIDTH_KEY)) || 400);
  }

  widthAt(x) {
    const { left, right } = this.side.getBoundingClientRect();
    return getComputedStyle(this.side).direction === "rtl" ? x - left : right - x;
  }

  resizeByKey(event) {
    const steps = { ArrowLeft: STEP_PX, ArrowRight: -STEP_PX, Home: MAX_PX, End: -MAX_PX };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.resize(this.width + steps[event.key]);
  }

  resize(width) {
    this.width = Math.round(Math.min(MAX_PX, Math.max(MIN_PX, width)));
    this.side.style.setProperty("--width", `${this.width}px`);
    this.handle.setAttribute("aria-valuenow", String(this.width));
    writeStored(WIDTH_KEY, String(this.width));
  }
}
