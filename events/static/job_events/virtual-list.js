/**
 * A list of rows of one height, which draws only the rows that are visible. It scrolls with the page, or with the
 * nearest element around it that has its own scroller.
 */

/** Rows that are drawn above and below the visible ones. */
const OVERSCAN_ROWS = 8;
/** A short list that scrolls with the page is drawn completely: it can be printed, and the browser finds text in it. */
const SHORT_ROWS = 100;
const SCROLLING = new Set(["auto", "scroll", "overlay"]);

export class VirtualList {
  /**
   * @param {HTMLElement} root  Gets the height of all rows; the rows are placed inside it.
   * @param {{
   *   rowHeight: number,
   *   create: () => HTMLElement,
   *   update: (node: HTMLElement, row: any, index: number) => void,
   * }} options  Each row has a unique `key`. `update` is called for a new row, and for all rows after `setRows`.
   */
  constructor(root, { rowHeight, create, update }) {
    Object.assign(this, { root, rowHeight, create, update });
    this.rows = [];
    /** @type {Map<string, number>} */
    this.indexes = new Map();
    /** Drawn nodes by key. @type {Map<string, HTMLElement>} */
    this.nodes = new Map();
    this.spare = [];
    /** This row is drawn even if it is not visible, so that it keeps the focus. */
    this.pinned = null;
    this.frame = 0;
    root.style.setProperty("position", "relative");
    this.schedule = () => {
      this.frame ||= requestAnimationFrame(() => this.draw());
    };
    const options = { passive: true, capture: true };
    addEventListener("scroll", this.schedule, options);
    addEventListener("resize", this.schedule, options);
    this.observer = new ResizeObserver(this.schedule);
    this.observer.observe(root);
  }

  close() {
    cancelAnimationFrame(this.frame);
    removeEventListener("scroll", this.schedule, { capture: true });
    removeEventListener("resize", this.schedule, { capture: true });
    this.observer.disconnect();
  }

  /** Shows other rows. @param {{key: string}[]} rows */
  setRows(rows) {
    const anchor = this.firstHidden();
    const before = anchor === null ? undefined : this.indexes.get(anchor);
    this.rows = rows;
    this.indexes = new Map(rows.map((row, index) => [row.key, index]));
    this.root.style.setProperty("height", `${rows.length * this.rowHeight}px`);
    const after = anchor === null ? undefined : this.indexes.get(anchor);
    if (before !== undefined && after !== undefined && before !== after) {
      this.scrollBy((after - before) * this.rowHeight);
    }
    this.isStale = true;
    this.draw();
  }

  /** The first row in view if rows above it are out of view; a change above it would move it. */
  firstHidden() {
    if (this.root.getBoundingClientRect().top >= this.view().top) return null;
    return this.rows[this.range()[0]]?.key ?? null;
  }

  /** The element that scrolls, or null for the page. */
  scroller() {
    for (let node = this.root.parentNode; node; node = node.parentNode ?? node.host) {
      if (node instanceof ShadowRoot) continue;
      if (!(node instanceof HTMLElement) || node === document.body) return null;
      const isOver = node.scrollHeight > node.clientHeight + 1;
      if (isOver && SCROLLING.has(getComputedStyle(node).overflowY)) return node;
    }
    return null;
  }

  scrollBy(distance) {
    (this.scroller() ?? window).scrollBy({ top: distance, behavior: "instant" });
  }

  /** Top and bottom of the part of the window in which rows are visible. */
  view() {
    const rect = this.scroller()?.getBoundingClientRect();
    return { top: Math.max(0, rect?.top ?? 0), bottom: Math.min(innerHeight, rect?.bottom ?? innerHeight) };
  }

  /** Indexes of the first visible row and of the row after the last one. */
  range() {
    const { top, bottom } = this.view();
    const start = this.root.getBoundingClientRect().top;
    const bounded = (value) => Math.min(this.rows.length, Math.max(0, value));
    return [
      bounded(Math.floor((top - start) / this.rowHeight)),
      bounded(Math.ceil((bottom - start) / this.rowHeight)),
    ];
  }

  draw() {
    this.frame = 0;
    const { length } = this.rows;
    const [from, to] = length > SHORT_ROWS || this.scroller() ? this.range() : [0, length];
    const wanted = this.wanted(Math.max(0, from - OVERSCAN_ROWS), Math.min(length, to + OVERSCAN_ROWS));
    const keys = new Set(wanted.map((index) => this.rows[index].key));
    for (const [key, node] of this.nodes) {
      if (keys.has(key)) continue;
      this.nodes.delete(key);
      node.remove();
      this.spare.push(node);
    }
    let next = this.root.firstElementChild;
    for (const index of wanted) {
      const node = this.place(index);
      if (node === next) next = next.nextElementSibling;
      else this.root.insertBefore(node, next);
    }
    this.isStale = false;
  }

  wanted(from, to) {
    const indexes = Array.from({ length: Math.max(0, to - from) }, (_, offset) => from + offset);
    const pinned = this.pinned === null ? undefined : this.indexes.get(this.pinned);
    if (pinned === undefined || (pinned >= from && pinned < to)) return indexes;
    return pinned < from ? [pinned, ...indexes] : [...indexes, pinned];
  }

  place(index) {
    const row = this.rows[index];
    let node = this.nodes.get(row.key);
    const isNew = !node;
    node ??= this.spare.pop() ?? this.create();
    this.nodes.set(row.key, node);
    if (isNew || this.isStale) {
      node.style.setProperty("transform", `translateY(${index * this.rowHeight}px)`);
      this.update(node, row, index);
    }
    return node;
  }

  /** Draws the visible rows again. */
  redraw() {
    this.isStale = true;
    this.draw();
  }

  /**
   * Scrolls as far as needed to show a row.
   * @param {string} key
   * @param {{top?: number, bottom?: number}} [covered]  Heights of what covers the list.
   */
  reveal(key, covered = {}) {
    const index = this.indexes.get(key);
    if (index === undefined) return;
    const view = this.view();
    const top = view.top + (covered.top ?? 0);
    const bottom = Math.min(view.bottom, innerHeight - (covered.bottom ?? 0));
    const start = this.root.getBoundingClientRect().top + index * this.rowHeight;
    const end = start + this.rowHeight;
    const isFar = end < top || start > bottom;
    if (isFar) this.scrollBy(start - (top + bottom) / 2);
    else if (start < top) this.scrollBy(start - top);
    else if (end > bottom) this.scrollBy(end - bottom);
    this.draw();
  }

  /** @param {string} key @returns {HTMLElement|undefined} The node of a row that is drawn. */
  node(key) {
    return this.nodes.get(key);
  }
}
