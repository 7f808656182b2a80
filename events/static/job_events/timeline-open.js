/**
 * Which rows of the timeline are open: those that the user opened, and at first those that show what matters.
 */
import { isOrigin } from "./timeline-rows.js";

/** Trees up to this number of rows are opened; larger ones level by level as long as they have fewer rows. */
const OPEN_ROWS = 40;
const FEW_ROWS = 4;
/** Of a job that failed: the row of its error should be on the first screen. */
const FAILED_OPEN_ROWS = 14;

export class OpenRows {
  constructor() {
    this.clear();
  }

  clear() {
    /** By the user. @type {Map<string, boolean>} */
    this.toggled = new Map();
    this.opened = new Set();
    /** Number of rows when the rows were opened. */
    this.size = 0;
  }

  has(row) {
    return this.toggled.get(row.key) ?? this.opened.has(row.key);
  }

  set(row, isOpen) {
    this.toggled.set(row.key, isOpen);
  }

  /** Opens the rows of a tree that has grown, unless the user has chosen. */
  follow(tree) {
    if (this.toggled.size || tree.bySpan.size <= 2 * this.size) return this.openNew(tree);
    this.size = tree.bySpan.size;
    this.opened.clear();
    const error = firstError(tree);
    const isFailed = error?.span.isFatal;
    this.openLevels(tree.roots, isFailed ? FAILED_OPEN_ROWS : OPEN_ROWS);
    this.openWayTo(error);
    if (!isFailed) this.openWayTo(tree.slowest[0]);
    return undefined;
  }

  openLevels(level, most) {
    let count = level.length;
    while (level.length) {
      const next = level.flatMap((row) => row.children);
      if (count >= FEW_ROWS && count + next.length > most) return;
      level.forEach((row) => this.opened.add(row.key));
      count += next.length;
      level = next;
    }
  }

  /** Opens rows that were added to a small tree. */
  openNew(tree) {
    if (tree.bySpan.size > OPEN_ROWS) return;
    for (const row of tree.bySpan.values()) this.opened.add(row.key);
  }

  openWayTo(row) {
    for (let each = row?.parent; each; each = each.parent) {
      this.opened.add(each.key);
      if (this.toggled.get(each.key) === false) this.toggled.delete(each.key);
    }
  }
}

/** The row that raised the fatal error, or else the first row that raised one. */
function firstError(tree) {
  const origins = [...tree.bySpan.values()].filter((row) => isOrigin(row.span));
  return origins.find((row) => row.span.isFatal) ?? origins[0];
}
