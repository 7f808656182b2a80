/**
 * The tab "Events": all events of the log in one list, with filters, a search in the whole log, and the details
 * of the selected event.
 */
import { compareCursors } from "../job_events/job-events.js";
import { keysEnabled } from "../job_events/keys.js";
import { VirtualList } from "../job_events/virtual-list.js";
import { element, setText, smallButton } from "./elements.js";
import { EventDetails } from "./event-details.js";
import { Entries, matches } from "./event-entries.js";
import { createRow, updateRow } from "./event-row.js";
import { EventSearch } from "./event-search.js";
import { EventTools } from "./event-tools.js";
import { Follower } from "./follower.js";
import { addTabStyles } from "./tab-styles.js";

const ROW_PX = 28;
/** The list is drawn at most so often while events arrive. */
const DRAW_MS = 200;
const PAGE_ROWS = 15;
/** Matching events that a search keeps, the latest. */
const CAPACITY = 25_000;

/** @param {HTMLElement} root @param {Object} page @returns {{draw(change: Object): void, show(): void, hide(): void}} */
export function createTab(root, page) {
  return new EventsTab(root, page);
}

class EventsTab {
  constructor(root, page) {
    Object.assign(this, { page, translate: page.translate, entries: new Entries() });
    addTabStyles();
    /** Shown rows: entries, and dividers between attempts. */
    this.rows = [];
    this.search = null;
    this.found = new Entries();
    this.isPaused = false;
    this.newCount = this.drawnAt = this.timer = 0;
    this.selected = null;
    this.filter = this.filterOfUrl();
    this.build(root);
    this.list = new VirtualList(this.body, {
      rowHeight: ROW_PX,
      create: createRow,
      update: (node, row, index) => this.updateRow(node, row, index),
    });
    this.listen();
    this.applyFilter();
    this.openUrl();
  }

  build(root) {
    this.tools = new EventTools(this);
    this.body = element("div", { class: "event-rows", role: "list", "aria-label": this.translate("events.label") });
    this.status = element("p", { class: "event-status soft", role: "status" });
    this.more = smallButton(this.translate("events.more"), () => this.search?.more());
    this.earlier = smallButton(this.translate("events.loadEarlier"), () => this.loadEarlier());
    this.follower = new Follower(this.body, this.translate("events.latest"));
    this.details = new EventDetails(this);
    const list = element("div", { class: "event-list" }, this.tools.node, this.earlier, this.body, this.more, this.status, this.follower.button);
    this.layout = element("div", { class: "event-layout" }, list, this.details.node);
    root.append(this.layout);
  }

  listen() {
    this.body.addEventListener("click", (click) => this.click(click));
    this.body.addEventListener("focusin", ({ target }) => (this.list.pinned = target.closest("[data-key]")?.dataset.key ?? null));
    this.layout.addEventListener("keydown", (press) => this.keydown(press));
    document.addEventListener("keydown", (press) => this.shortcut(press));
  }

  // Events of the log

  draw({ restart = false, events = [] } = {}) {
    // The results are those of the log that is discarded; during playback they are still valid.
    const isObsolete = restart && this.search && !this.page.isPlayback && this.entries.all.length > 0;
    if (restart) this.clear();
    const added = this.entries.add(events);
    const first = this.page.isPlayback ? undefined : this.page.log?.events?.[0]?.id;
    const isTrimmed = first !== undefined && this.entries.trim(first);
    if (isObsolete) this.applyFilter();
    else if (this.search) {
      if (this.page.isPlayback) this.setRowsOfFilter();
      if (added.length) this.search.later();
    } else if (this.isPaused) {
      this.newCount += added.filter((entry) => matches(entry, this.filter)).length;
    } else {
      if (isTrimmed) this.rows = rowsFrom(this.rows, first);
      this.addRows(added);
    }
    this.drawSoon(restart);
  }

  clear() {
    this.entries.clear();
    this.newCount = 0;
    if (!this.search) this.rows = [];
  }

  addRows(entries) {
    let attempt = this.rows.at(-1)?.attempt ?? null;
    for (const entry of entries) {
      if (!matches(entry, this.filter)) continue;
      if (entry.attempt !== null && attempt !== null && entry.attempt !== attempt) {
        this.rows.push({ key: `attempt-${entry.key}`, divider: true, attempt: entry.attempt });
      }
      attempt = entry.attempt ?? attempt;
      this.rows.push(entry);
    }
  }

  drawSoon(isNow) {
    const wait = this.drawnAt + DRAW_MS - performance.now();
    if (this.timer) return;
    if (isNow || wait <= 0) return this.drawNow();
    this.timer = setTimeout(() => this.drawNow(), wait);
  }

  drawNow() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.drawnAt = performance.now();
    this.body.toggleAttribute("data-levels", this.entries.levels > 0);
    this.follower.prepare();
    this.list.setRows(this.rows);
    this.tools.draw();
    this.drawStatus();
    if (!this.isPaused) this.follower.draw();
    if (this.selected && !this.details.isShown) this.showDetails();
  }

  // Filters and search

  filterOfUrl() {
    const { url } = this.page;
    return {
      types: new Set(url.all("type")),
      level: url.get("level") ?? "",
      errors: url.get("errors") === "1",
      search: url.get("q") ?? "",
    };
  }

  /** Changes the filter; the URL gets it. */
  setFilter(change) {
    const before = this.filter;
    this.filter = { ...before, ...change };
    const { types, level, errors, search } = this.filter;
    this.page.url.set({ type: types.size ? [...types] : null, level: level || null, errors: errors ? "1" : null, q: search || null });
    this.applyFilter();
  }

  applyFilter() {
    this.search?.close();
    this.found.clear();
    const { search } = this.filter;
    this.follower.isOn = false;
    this.search = search ? new EventSearch(this.eventsUrl, this.filter, (events) => this.takeFound(events)) : null;
    this.fillRows();
  }

  get eventsUrl() {
    const { apiUrl, jobId } = this.page.config;
    return `${apiUrl}${jobId}/events/`;
  }

  fillRows() {
    this.newCount = 0;
    this.setRowsOfFilter();
    this.drawNow();
  }

  setRowsOfFilter() {
    this.rows = [];
    this.addRows(this.search ? this.foundUntilNow() : this.entries.all);
  }

  /** During playback without the events after the displayed time. */
  foundUntilNow() {
    const last = this.page.isPlayback ? this.entries.all.at(-1)?.key : undefined;
    const { all } = this.found;
    return last === undefined ? all : all.filter(({ key }) => compareCursors(key, last) <= 0);
  }

  takeFound(events) {
    const added = this.found.add(events);
    const kept = this.found.all.at(-CAPACITY);
    const isTrimmed = kept && this.found.trim(kept.key);
    if (isTrimmed || this.page.isPlayback) return this.fillRows();
    this.addRows(added);
    this.drawSoon(true);
  }

  setPaused(isPaused) {
    this.isPaused = isPaused;
    if (isPaused) this.drawNow();
    else this.fillRows();
  }

  async loadEarlier() {
    this.earlier.disabled = true;
    await this.page.loadEarlier();
    this.earlier.disabled = false;
  }

  // What is known about the list

  drawStatus() {
    const { log } = this.page;
    this.earlier.hidden = Boolean(this.search) || !log?.hasEarlier || Boolean(this.page.isPlayback);
    this.more.hidden = this.search?.state !== "more" && this.search?.state !== "failed";
    setText(this.status, this.search ? this.searchText() : this.emptyText());
    this.status.hidden = !this.status.textContent;
  }

  searchText() {
    const { state, detail, count } = this.search;
    if (state === "failed") return detail || this.translate("search.failed");
    if (state === "loading") return this.translate("search.loading");
    if (state === "more") return this.translate("search.some", { count });
    if (count && !this.rows.length) return this.translate("events.none");
    return this.translate(count ? "search.all" : "search.none", { count });
  }

  emptyText() {
    if (this.rows.length) return "";
    if (this.entries.all.length) return this.translate("events.none");
    const isOver = this.page.log?.ended;
    return this.translate(isOver ? "events.empty" : "events.waiting");
  }

  // Rows

  updateRow(node, row, index) {
    node.setAttribute("aria-setsize", String(this.rows.length));
    node.setAttribute("aria-posinset", String(index + 1));
    const isSelected = row.key === this.selected;
    updateRow(node, row, { translate: this.translate, isSelected, href: this.linkTo(row.key), again: () => this.list.redraw() });
  }

  linkTo(id) {
    return this.page.url.href({ tab: "events", span: null, event: id });
  }

  click(click) {
    const link = click.target.closest("a");
    if (!link || click.ctrlKey || click.metaKey || click.shiftKey) return;
    click.preventDefault();
    this.select(link.closest("[data-key]").dataset.key);
  }

  // Selection

  /** Shows the event of the URL. */
  openUrl() {
    const id = this.page.url.get("event");
    if (id !== this.selected) this.select(id, { isOfUrl: true });
  }

  /** @param {string|null} id */
  select(id, { isOfUrl = false, focus = false } = {}) {
    this.selected = id;
    if (!isOfUrl) this.page.url.set({ event: id });
    this.follower.isOn = false;
    this.showDetails();
    this.list.redraw();
    if (id === null) return;
    if (this.list.indexes.has(id)) this.list.reveal(id, this.covered());
    this.uncover(id);
    if (focus) this.list.node(id)?.querySelector("a").focus({ preventScroll: true });
  }

  showDetails() {
    const known = this.rows.find(({ key }) => key === this.selected) ?? this.entries.all.find(({ key }) => key === this.selected);
    const isLoaded = ["live", "ended", "polling", "reconnecting"].includes(this.page.log?.status);
    this.details.show(this.selected, known, isLoaded);
    this.layout.toggleAttribute("data-selected", this.selected !== null);
    if (known && this.list.indexes.has(known.key) && !this.revealed) this.list.reveal(known.key, this.covered());
    this.revealed = Boolean(known);
  }

  /** Selects the next row in a direction, or the next error. */
  step(direction, isWanted = () => true) {
    let at = this.list.indexes.get(this.selected) ?? (direction > 0 ? -1 : this.rows.length);
    do at += direction; while (this.rows[at] && (this.rows[at].divider || !isWanted(this.rows[at])));
    if (this.rows[at]) this.select(this.rows[at].key, { focus: this.body.contains(document.activeElement) });
  }

  keydown(press) {
    if (press.ctrlKey || press.metaKey || press.altKey) return;
    const keys = {
      ArrowDown: () => this.step(1), ArrowUp: () => this.step(-1),
      PageDown: () => this.jump(PAGE_ROWS), PageUp: () => this.jump(-PAGE_ROWS),
      Home: () => this.jump(-Infinity), End: () => this.jump(Infinity),
    };
    const isInList = this.body.contains(press.target);
    if (press.key === "Escape" && this.selected) this.select(null);
    else if (isInList && keys[press.key]) keys[press.key]();
    else return;
    press.preventDefault();
  }

  /** Keys that work wherever the focus is, except in fields. */
  shortcut(press) {
    const isTyping = press.target.closest?.("input, textarea, select, dialog[open], [contenteditable]");
    if (!keysEnabled() || !this.layout.offsetParent || isTyping || press.ctrlKey || press.metaKey || press.altKey) return;
    const keys = {
      j: () => this.step(1), k: () => this.step(-1), e: () => this.step(1, (row) => row.isError),
      c: () => this.details.copy(),
    };
    keys[press.key.toLowerCase()]?.();
  }

  jump(distance) {
    const at = this.list.indexes.get(document.activeElement?.closest("[data-key]")?.dataset.key) ?? 0;
    const row = this.rows[Math.min(this.rows.length - 1, Math.max(0, at + distance))];
    this.list.reveal(row.key, this.covered());
    this.list.node(row.key)?.querySelector("a").focus({ preventScroll: true });
  }

  /** Heights of what covers the list: the bar of the tabs, and the filters. */
  covered() {
    const bars = [document.getElementById("run-bar"), this.tools.node];
    const bottoms = bars.map((bar) => bar?.getBoundingClientRect().bottom ?? 0);
    return { top: Math.max(0, Math.max(...bottoms) - this.list.view().top) };
  }

  /** On phones, the details cover the end of the window. */
  uncover(id) {
    const sheet = this.details.node;
    const row = this.list.node(id)?.getBoundingClientRect();
    if (!row || sheet.hidden || getComputedStyle(sheet).position !== "fixed") return;
    const distance = row.bottom + ROW_PX - sheet.getBoundingClientRect().top;
    if (distance > 0) scrollBy({ top: distance, behavior: "instant" });
  }

  /** Applies the state of the URL. */
  show() {
    const before = this.filter;
    this.filter = this.filterOfUrl();
    if (keyOf(before) !== keyOf(this.filter)) this.applyFilter();
    this.openUrl();
    this.list.redraw();
  }
}

/** The rows of the event with the id `first` and later ones. */
function rowsFrom(rows, first) {
  const at = rows.findIndex((row) => row.event && compareCursors(row.key, first) >= 0);
  return at < 0 ? [] : rows.slice(at);
}

const keyOf = ({ types, level, errors, search }) => JSON.stringify([[...types], level, errors, search]);
