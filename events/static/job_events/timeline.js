/**
 * The steps of a job as a tree with a waterfall of their times. Draws only the visible rows.
 */
import { drawAxis, drawFacets, drawSlowest, axisOf, fillTip, isOn } from "./timeline-head.js";
import { OpenRows } from "./timeline-open.js";
import { createRow, make, setText, updateRow } from "./timeline-row.js";
import { isOrigin, timelineTree, visibleRows } from "./timeline-rows.js";
import { addTimelineStyles } from "./timeline-styles.js";
import { VirtualList } from "./virtual-list.js";

const ROW_PX = 28;
const GROW_MS = 900;
const PAGE_ROWS = 15;
const NO_FILTER = { kinds: [], errors: false, text: "" };

export class Timeline {
  /**
   * @param {Element|ShadowRoot} root
   * @param {{
   *   translate: (name: string, values?: Record<string, unknown>) => string,
   *   onSelect?: (span: import("./job-spans.js").Span|null, by: "user"|"page") => void,
   *   onFilter?: (filter: {kinds: string[], errors: boolean, text: string}) => void,
   * }} options  `translate` returns the texts of timeline-texts.js.
   */
  constructor(root, { translate, onSelect = () => {}, onFilter }) {
    Object.assign(this, { translate, onSelect, onFilter });
    /** The id of the selected span. @type {string|null} */
    this.selected = null;
    this.focused = null;
    this.filter = NO_FILTER;
    this.open = new OpenRows();
    this.rows = [];
    this.branch = new Set();
    this.pointer = null;
    this.coveredBottom = 0;
    addTimelineStyles(root.getRootNode());
    this.build(root);
    this.list = new VirtualList(this.body, {
      rowHeight: ROW_PX,
      create: createRow,
      update: (node, row, index) => this.updateRow(node, row, index),
    });
    this.listen();
  }

  build(root) {
    this.root = make("div", "job-events-timeline");
    this.slowest = make("div", "slowest");
    this.tools = make("div", "facets");
    this.facets = make("div", "facets");
    this.facets.setAttribute("role", "group");
    this.facets.setAttribute("aria-label", this.translate("timeline.facets"));
    this.search = make("input", "search");
    this.search.type = "search";
    this.search.placeholder = this.translate("timeline.search");
    this.search.setAttribute("aria-label", this.search.placeholder);
    this.tools.append(this.facets, this.search);
    this.grid = make("div", "grid");
    this.grid.setAttribute("role", "treegrid");
    this.grid.setAttribute("aria-label", this.translate("timeline.label"));
    this.head = make("div", "axis");
    this.head.setAttribute("role", "row");
    this.head.setAttribute("aria-rowindex", "1");
    const [name, track, time] = ["step", "time", "duration"].map((column) => this.columnHeader(column));
    this.ticks = make("span", "ticks");
    track.append(this.ticks);
    this.duration = time;
    this.head.append(name, track, time);
    this.body = make("div", "rows");
    this.body.setAttribute("role", "rowgroup");
    this.empty = make("p", "empty");
    this.clear = make("button", "facet");
    this.clear.type = "button";
    setText(this.clear, this.translate("timeline.clear"));
    this.tip = make("div", "tip");
    this.tip.hidden = true;
    this.grid.append(this.head, this.body);
    this.root.append(this.slowest, this.tools, this.grid, this.empty, this.tip);
    root.append(this.root);
  }

  columnHeader(name) {
    const cell = make("div", `cell ${{ step: "name", time: "track", duration: "time" }[name]}`);
    cell.setAttribute("role", "columnheader");
    const label = make("span", name === "time" ? "unseen" : "");
    label.textContent = this.translate(`timeline.${name}`);
    cell.append(label);
    return cell;
  }

  listen() {
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("keydown", (event) => this.keydown(event));
    this.body.addEventListener("focusin", (event) => this.focusOn(keyOf(event)));
    this.body.addEventListener("pointermove", (event) => this.hover(event));
    this.body.addEventListener("pointerleave", () => this.leave());
    this.clear.addEventListener("click", () => this.setFilter(NO_FILTER));
    this.search.addEventListener("input", () => this.setFilter({ ...this.filter, text: this.search.value }));
    this.observer = new ResizeObserver(() => this.tree && this.drawAxis());
    this.observer.observe(this.ticks);
  }

  close() {
    this.observer.disconnect();
    this.list.close();
    this.root.remove();
  }

  /**
   * @param {import("./job-model.js").JobModel} model
   * @param {{now?: number, attempt?: number|null, compareWith?: number|null, filter?: object}} [options]
   */
  draw(model, { now = Date.now(), attempt = null, compareWith = null, filter } = {}) {
    const isSame = this.shown && this.shown.attempt === attempt && this.shown.compareWith === compareWith;
    if (!isSame) this.open.clear();
    if (filter) this.filter = { ...NO_FILTER, ...filter };
    // Bars grow once a second: less would be missed, more would distract.
    const isGrowing = isSame && this.tree?.isRunning && now > this.shown.now && now - this.shown.now < GROW_MS;
    this.shown = { model, attempt, compareWith, now: isGrowing ? this.shown.now : now };
    this.tree = timelineTree(model, this.shown);
    this.redraw();
  }

  redraw() {
    const { tree, translate } = this;
    this.open.follow(tree);
    const handlers = {
      translate,
      onSelect: (key) => this.select(key, { by: "user" }),
      onFilter: (filter) => this.setFilter(filter),
    };
    drawSlowest(this.slowest, tree, handlers);
    drawFacets(this.facets, this.search, tree, this.filter, handlers);
    this.root.dataset.flat = String(tree.roots.every((row) => !row.children.length));
    this.root.dataset.compares = String(Boolean(tree.second));
    const numbers = tree.second ? { first: tree.first.number, second: tree.second.number } : null;
    setText(this.duration.firstChild, numbers ? translate("timeline.difference", numbers) : translate("timeline.duration"));
    this.drawAxis();
    this.setRows(visibleRows(tree, { filter: this.filter, isOpen: (row) => this.open.has(row) }));
  }

  drawAxis() {
    this.axis = axisOf(this.tree, this.ticks.clientWidth);
    drawAxis(this.ticks, this.grid, this.axis);
  }

  setRows(rows) {
    const anchor = this.pointer ?? (this.body.contains(this.activeElement) ? this.focused : null);
    this.rows = anchor === null ? rows : this.withoutJumps(rows, anchor);
    this.markBranch();
    if (!this.list.indexes.has(this.focused) || this.focused === null) this.focused = this.rows[0]?.key ?? null;
    this.list.pinned = this.focused;
    this.list.setRows(this.rows);
    this.grid.setAttribute("aria-rowcount", String(this.rows.length + 1));
    const isEmpty = !this.rows.length;
    this.grid.hidden = isEmpty;
    this.empty.hidden = !isEmpty;
    if (isEmpty) this.showEmpty();
  }

  /** Rows that would be inserted above the row under the pointer are shown when the pointer leaves. */
  withoutJumps(rows, anchor) {
    const at = rows.findIndex((row) => row.key === anchor);
    if (at < 0 || this.isChangedByUser) return rows;
    return rows.filter((row, index) => index >= at || this.list.indexes.has(row.key));
  }

  showEmpty() {
    const isFiltered = isOn(this.filter);
    this.empty.replaceChildren(this.translate(isFiltered ? "timeline.none" : "timeline.empty"), " ");
    if (isFiltered) this.empty.append(this.clear);
  }

  get activeElement() {
    return this.root.getRootNode().activeElement;
  }

  setFilter(filter) {
    this.filter = filter;
    this.onFilter?.(filter);
    this.change(() => {});
  }

  // Changes by the user

  toggle(row, isOpen = !row.isOpen) {
    if (!row.children.length || row.isOpen === isOpen) return;
    this.change(() => this.open.set(row, isOpen));
  }

  /** Applies a change made by the user: the rows follow at once. */
  change(apply) {
    apply();
    if (!this.tree) return;
    this.isChangedByUser = true;
    this.redraw();
    this.isChangedByUser = false;
  }

  // Selection

  /**
   * Selects a step, opens the rows around it and scrolls to it; null selects none.
   * @param {string|null} spanId
   * @param {{by?: "user"|"page", focus?: boolean, reveal?: boolean}} [options]
   */
  select(spanId, { by = "page", focus = false, reveal = true } = {}) {
    const row = spanId === null ? null : this.tree?.bySpan.get(spanId);
    if (row === undefined) return false;
    this.selected = spanId;
    if (row) this.open.openWayTo(row);
    // A row that the page selects by itself does not change the filter of the user.
    if (row && reveal && !this.isShown(row)) this.setFilter(NO_FILTER);
    if (row) this.focused = row.key;
    this.change(() => {});
    this.onSelect(row ? (row.span.id === spanId ? row.span : row.other ?? row.span) : null, by);
    if (row && reveal) this.list.reveal(row.key, this.covered());
    if (row && focus) this.list.node(row.key)?.focus({ preventScroll: true });
    return true;
  }

  isShown(row) {
    const rows = visibleRows(this.tree, { filter: this.filter, isOpen: (each) => this.open.has(each) });
    return rows.includes(row);
  }

  /** Selects the next row in this direction: 1 or -1. */
  step(direction) {
    const at = this.list.indexes.get(this.tree?.bySpan.get(this.selected)?.key);
    const row = this.rows[at === undefined ? 0 : at + direction];
    if (row) this.select(row.key, { by: "user", focus: this.body.contains(this.activeElement) });
  }

  /** Selects the next step that raised an error, or the first one after the last. */
  nextError() {
    const errors = allRows(this.tree.roots).filter((row) => isOrigin(row.span));
    const at = errors.indexOf(this.tree.bySpan.get(this.selected));
    if (errors.length) this.select(errors[(at + 1) % errors.length].key, { by: "user" });
  }

  /** The rows whose bars a narrow page shows: around, beside and below the selected step. */
  markBranch() {
    this.branch = new Set();
    const selected = this.tree.bySpan.get(this.selected);
    if (!selected) return;
    for (let row = selected; row; row = row.parent) this.branch.add(row.key);
    for (const row of selected.parent?.children ?? this.tree.roots) this.branch.add(row.key);
    for (const row of allRows(selected.children)) this.branch.add(row.key);
  }

  updateRow(node, row, index) {
    updateRow(node, row, {
      index,
      axis: this.axis,
      tree: this.tree,
      translate: this.translate,
      isSelected: this.tree.bySpan.get(this.selected) === row,
      isFocusable: this.focused === row.key,
      isInBranch: this.branch.has(row.key),
    });
  }

  // Pointer and keyboard

  click(event) {
    const row = this.rowOf(keyOf(event));
    if (!row) return;
    this.focusOn(row.key);
    if (event.target.closest(".toggle") && row.children.length) this.toggle(row);
    else this.select(row.key, { by: "user", focus: true });
  }

  rowOf(key) {
    return this.rows[this.list.indexes.get(key) ?? -1];
  }

  focusOn(key) {
    if (!key || this.focused === key) return;
    this.focused = this.list.pinned = key;
    this.list.redraw();
  }

  keydown(event) {
    const row = this.rowOf(this.focused);
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.list.indexes.get(row.key);
    const moves = {
      ArrowDown: () => this.moveTo(at + 1),
      ArrowUp: () => this.moveTo(at - 1),
      PageDown: () => this.moveTo(at + PAGE_ROWS),
      PageUp: () => this.moveTo(at - PAGE_ROWS),
      Home: () => this.moveTo(0),
      End: () => this.moveTo(this.rows.length - 1),
      ArrowRight: () => (row.isOpen ? this.moveTo(at + 1) : this.toggle(row, true)),
      ArrowLeft: () => (row.isOpen && row.children.length ? this.toggle(row, false) : this.moveTo(this.list.indexes.get(row.parent?.key))),
      Enter: () => this.select(row.key, { by: "user", focus: true }),
      " ": () => this.select(row.key, { by: "user", focus: true }),
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    moves[event.key]();
  }

  moveTo(index) {
    const row = this.rows[Math.min(this.rows.length - 1, Math.max(0, index ?? -1))];
    if (index === undefined || !row) return;
    this.focusOn(row.key);
    this.list.reveal(row.key, this.covered());
    this.list.node(row.key)?.focus({ preventScroll: true });
    if (this.selected !== null && this.selected !== row.key) this.select(row.key, { by: "user", focus: true });
  }

  /** Heights of what is fixed above and below the rows. */
  covered() {
    const sticky = Number.parseFloat(getComputedStyle(this.head).insetBlockStart) || 0;
    return { top: sticky + this.head.offsetHeight, bottom: this.coveredBottom };
  }

  hover(event) {
    const key = keyOf(event);
    this.pointer = key;
    const row = event.pointerType === "touch" ? undefined : this.rowOf(key);
    this.tip.hidden = !row;
    if (!row) return;
    if (this.tip.dataset.key !== key) fillTip(this.tip, row, this.tree, this);
    this.tip.dataset.key = key;
    const isLeft = event.clientX > innerWidth / 2;
    this.tip.style.setProperty("transform", `translate(calc(${event.clientX}px + ${isLeft ? "-100% - 12px" : "16px"}), ${event.clientY + 18}px)`);
  }

  leave() {
    this.pointer = null;
    this.tip.hidden = true;
    this.tip.dataset.key = "";
  }
}

const keyOf = (event) => event.target.closest?.(".row")?.dataset.key ?? null;

/** @returns {import("./timeline-rows.js").Row[]} The rows and those below them, from top to bottom. */
function allRows(rows) {
  return rows.flatMap((row) => [row, ...allRows(row.children)]);
}
