/**
 * The rows of a timeline, calculated from the spans of a job. Without DOM.
 *
 * @typedef {import("./job-spans.js").Span} Span
 * @typedef {{
 *   key: string, span: Span, other: Span|null, only: ""|"first"|"second", parent: Row|null, children: Row[],
 *   level: number, position: number, siblings: number, start: number, end: number, wait: number,
 *   duration: number, otherDuration: number, own: number, count: number, errors: number, failures: number,
 *   group: {size: number, first: boolean, last: boolean}|null, isSlowest: boolean, rank: number,
 *   isOpen: boolean, isContext: boolean, isMatch: boolean,
 * }} Row  `start`, `end` in milliseconds since the start of the attempt. `count`, `errors`: of the
 *   rows below it.
 *   `isContext`: shown only because a row below it matches the filter.
 */
import { eventData } from "./untrusted.js";

/** Shorter overlaps of two steps come from the rounding of times. */
const OVERLAP_MS = 5;
const OVERLAP_SHARE = 0.1;
/** LangGraph's name of a graph that was compiled without one. */
const UNNAMED_GRAPH = "LangGraph";
const SLOWEST_COUNT = 3;
const SLOWEST_SHARE = 0.02;
const ERRORS = new Set(["failed", "error", "handled", "retry"]);

const isError = (span) => ERRORS.has(span.status);

/** Whether the error was raised in this step, and not only passed on by it. */
export const isOrigin = (span) => isError(span) && !span.children.some((child) => child.status === span.status);

/** Milliseconds that a task waited in its queue. */
export function waitOf(span) {
  const seconds = span.kind === "task" ? Number(eventData(span.events[0] ?? {}).queue_seconds) : 0;
  return seconds > 0 && Number.isFinite(seconds) ? seconds * 1000 : 0;
}

/**
 * @param {import("./job-model.js").JobModel} model
 * @param {{now: number, attempt?: number|null, compareWith?: number|null}} options
 */
export function timelineTree(model, { now, attempt, compareWith }) {
  const numbers = [attempt ?? model.attempt, ...(compareWith ? [compareWith] : [])].sort((a, b) => a - b);
  const first = attemptOf(model, numbers[0]);
  const second = numbers.length > 1 ? attemptOf(model, numbers[1]) : null;
  const tree = {
    roots: [], bySpan: new Map(), slowest: [], from: 0, to: 0, isRunning: false, first, second, now,
    duration: 0,
  };
  tree.roots = pairRows(tree, null, model.roots(first.number), second ? model.roots(second.number) : []);
  tree.duration = [...tree.bySpan.values()].reduce((most, row) => Math.max(most, row.end), Math.max(0, first.end ?? 0));
  tree.to = Math.max(1, tree.duration);
  tree.from = tree.roots.reduce((least, row) => Math.min(least, row.start - row.wait), 0);
  rankSlowest(tree);
  return tree;
}

function attemptOf(model, number) {
  const found = model.attempts.find((each) => each.number === number);
  const earliest = model.roots(number).reduce((least, span) => Math.min(least, span.start), Infinity);
  const start = found?.start ?? (Number.isFinite(earliest) ? earliest : 0);
  return { number, start, end: Number.isFinite(found?.end) ? found.end - start : null };
}

/** Rows of sibling spans. If two attempts are compared, spans with equal kind and name share a row. */
function pairRows(tree, parent, spans, others) {
  const waiting = new Map(others.map((span) => [identity(span), span]));
  const pairs = spans.map((span) => {
    const other = waiting.get(identity(span)) ?? null;
    if (other) waiting.delete(identity(span));
    return [span, other];
  });
  for (const other of waiting.values()) pairs.push([null, other]);
  const rows = pairs.map(([span, other]) => newRow(tree, parent, span, other));
  rows.sort((a, b) => a.start - b.start);
  rows.forEach((row) => addChildren(tree, row));
  markGroups(rows);
  markSlowest(rows);
  return rows;
}

/** Uses the number, not the displayed index, which only repeated names have. */
const identity = (span) => `${span.kind} ${span.number} ${span.baseName}`;

function newRow(tree, parent, span, other) {
  const shown = span ?? other;
  const origin = (span ? tree.first : tree.second).start;
  const now = Math.max(tree.now, shown.start);
  const start = shown.start - origin;
  const end = Math.max(start, (shown.end ?? now) - origin);
  if (shown.end === null) tree.isRunning = true;
  const row = {
    key: shown.id, span: shown, other: span ? other : null, parent, children: [],
    only: tree.second ? (!span ? "second" : other ? "" : "first") : "",
    level: parent ? parent.level + 1 : 1, position: 0, siblings: 0, start, end,
    duration: end - start, otherDuration: span && other ? (other.end ?? tree.now) - other.start : 0,
    wait: waitOf(shown),
    own: 0, count: 0, errors: 0, failures: 0, group: null, isSlowest: false, rank: 0,
    isOpen: false, isContext: false, isMatch: true,
  };
  tree.bySpan.set(shown.id, row);
  if (row.other) tree.bySpan.set(row.other.id, row);
  return row;
}

function addChildren(tree, row) {
  const first = row.only === "second" ? [] : visibleChildren(tree, row, row.span);
  const other = row.only === "second" ? row.span : row.other;
  row.children = pairRows(tree, row, first, other ? visibleChildren(tree, row, other) : []);
  row.own = row.duration - covered(row);
  for (const child of row.children) {
    row.count += 1 + child.count;
    row.errors += child.errors + Number(isOrigin(child.span));
    row.failures += child.failures + Number(child.span.status === "failed");
  }
}

/** The node of a subgraph and the graph in it take the same time: they share a row. */
function visibleChildren(tree, row, span) {
  const [only] = span.children;
  const isWrapped = span.children.length === 1 && only.kind === "graph" && span.kind === "node";
  if (!isWrapped || ![span.baseName, UNNAMED_GRAPH].includes(only.baseName)) return span.children;
  tree.bySpan.set(only.id, row);
  return only.children;
}

/** Milliseconds of a row during which one of its children is active. */
function covered(row) {
  let [sum, until] = [0, row.start];
  for (const child of [...row.children].sort((a, b) => a.start - b.start)) {
    const [start, end] = [Math.max(child.start, until), Math.min(child.end, row.end)];
    if (end > start) sum += end - start;
    until = Math.max(until, end);
  }
  return sum;
}

/** Marks rows that run at the same time as their neighbours. */
function markGroups(rows) {
  let group = [];
  let latest = null;
  const close = () => {
    const last = group.length - 1;
    if (last > 0) group.forEach((row, at) => (row.group = { size: group.length, first: !at, last: at === last }));
  };
  for (const row of rows) {
    if (latest && !overlaps(latest, row)) {
      close();
      [group, latest] = [[], null];
    }
    group.push(row);
    if (!latest || row.end > latest.end) latest = row;
  }
  close();
}

function overlaps(earlier, row) {
  const length = Math.min(earlier.end, row.end) - Math.max(earlier.start, row.start);
  return length > Math.max(OVERLAP_MS, OVERLAP_SHARE * Math.min(earlier.duration, row.duration));
}

function markSlowest(rows) {
  if (rows.length < 2) return;
  const slowest = rows.reduce((most, row) => (row.duration > most.duration ? row : most));
  slowest.isSlowest = slowest.duration > 0;
}

/**
 * Ranks the rows with the most time of their own, which no row below them accounts for; of two attempts, the
 * rows without others below them whose time differs most.
 */
function rankSlowest(tree) {
  const isPairedLeaf = (row) => !row.children.length && row.other;
  const weight = tree.second ? (row) => (isPairedLeaf(row) ? Math.abs(deltaOf(row)) : 0) : (row) => row.own;
  const rows = [...new Set(tree.bySpan.values())].filter((row) => weight(row) > SLOWEST_SHARE * tree.duration);
  rows.sort((a, b) => weight(b) - weight(a));
  tree.slowest = rows.slice(0, SLOWEST_COUNT);
  tree.slowest.forEach((row, at) => (row.rank = at + 1));
}

/** Milliseconds that a row took longer in the second attempt. */
export const deltaOf = (row) => row.otherDuration - row.duration;

/** @returns {Map<string, number>} Number of rows by kind, and of "errors". */
export function facetCounts(tree) {
  const counts = new Map([["errors", 0]]);
  for (const { span } of new Set(tree.bySpan.values())) {
    counts.set(span.kind, (counts.get(span.kind) ?? 0) + 1);
    if (isOrigin(span)) counts.set("errors", counts.get("errors") + 1);
  }
  return counts;
}

/**
 * @param {{kinds?: string[], errors?: boolean, text?: string}} filter
 * @returns {((span: Span) => boolean)|null} Null if everything matches.
 */
function matcher({ kinds = [], errors = false, text = "" }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!kinds.length && !errors && !words.length) return null;
  return (span) => {
    if (kinds.length && !kinds.includes(span.kind)) return false;
    if (errors && !isOrigin(span)) return false;
    if (!words.length) return true;
    const source = `${span.name} ${span.detail ?? ""} ${span.error?.message ?? ""}`.toLowerCase();
    return words.every((word) => source.includes(word));
  };
}

/**
 * @param {ReturnType<typeof timelineTree>} tree
 * @param {{filter: object, isOpen: (row: Row) => boolean}} options
 * @returns {Row[]} The visible rows from top to bottom.
 */
export function visibleRows(tree, { filter, isOpen }) {
  const matches = matcher(filter);
  const rows = [];
  const visit = (siblings) => {
    const shown = matches ? siblings.filter((row) => row.isMatch || row.isContext) : siblings;
    shown.forEach((row, at) => {
      Object.assign(row, { position: at + 1, siblings: shown.length });
      const hasShown = matches ? row.isContext : row.children.length > 0;
      row.isOpen = hasShown && (matches ? true : isOpen(row));
      rows.push(row);
      if (row.isOpen) visit(row.children);
    });
  };
  if (matches) markMatches(tree.roots, matches);
  visit(tree.roots);
  return rows;
}

/** Sets `isMatch`, and `isContext` of the rows around a match. @returns {boolean} Whether a row matches. */
function markMatches(rows, matches) {
  let found = false;
  for (const row of rows) {
    row.isMatch = matches(row.span) || (row.other !== null && matches(row.other));
    row.isContext = markMatches(row.children, matches);
    found ||= row.isMatch || row.isContext;
  }
  return found;
}

/** @returns {string[]} The names from the outermost step to this one. */
export function pathOf(span) {
  const names = [];
  for (let each = span; each; each = each.parent) names.unshift(each.name);
  return names;
}
