/**
 * One row of the timeline: name, bars and duration of a step.
 *
 * @typedef {import("./timeline-rows.js").Row} Row
 */
import { formatMs, formatOffset } from "./time-format.js";
import { deltaOf, isOrigin } from "./timeline-rows.js";

export const LETTERS = {
  task: "J", span: "S", graph: "G", node: "N", model: "M", tool: "T", retriever: "R", phase: "P", event: "E",
};
/** Statuses that are shown as a word. */
const SHOWN = new Set(["running", "failed", "error", "handled", "interrupted", "cancelled", "stopped", "retry"]);
const MAX_INDENTS = 12;

export const make = (name, part) => {
  const node = document.createElement(name);
  if (part) node.className = part;
  return node;
};

/** Sets the text if it differs; without one the element is hidden. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
  if (node.hidden !== !text) node.hidden = !text;
}

/** @returns {string} Name of the status and of its text. */
export const statusOf = (span) => (span.isFatal && isOrigin(span) ? "fatal" : span.status);

/** @returns {HTMLElement} An empty row; `row.parts` are its elements. */
export function createRow() {
  const row = make("div", "row");
  row.setAttribute("role", "row");
  row.tabIndex = -1;
  const cells = ["name", "track", "time"].map((name) => make("div", `cell ${name}`));
  cells.forEach((cell) => cell.setAttribute("role", "gridcell"));
  const parts = { name: cells[0], track: cells[1], time: cells[2] };
  for (const name of ["indent", "toggle", "kind", "label", "rank", "group", "count", "state", "detail"]) {
    parts[name] = make("span", name);
    cells[0].append(parts[name]);
  }
  parts.kind.setAttribute("role", "img");
  parts.toggle.setAttribute("aria-hidden", "true");
  parts.label.dir = parts.detail.dir = "auto";
  for (const name of ["wait", "bar", "bar second"]) cells[1].append((parts[name] = make("span", name)));
  for (const name of ["value", "delta"]) cells[2].append((parts[name] = make("span", name)));
  row.append(...cells);
  return Object.assign(row, { parts });
}

/**
 * @param {ReturnType<typeof createRow>} node
 * @param {Row} row
 * @param {{axis: object, translate: Function, index: number, isSelected: boolean, isFocusable: boolean,
 *   isInBranch: boolean, tree: object}} view
 */
export function updateRow(node, row, view) {
  const { span } = row;
  node.dataset.key = row.key;
  const state = {
    kind: span.kind,
    status: statusOf(span),
    origin: String(isOrigin(span)),
    slowest: String(row.isSlowest),
    context: String(!row.isMatch),
    only: row.only,
    inside: row.isOpen || !row.errors ? "" : row.failures ? "failed" : "handled",
    branch: String(view.isInBranch),
  };
  for (const [name, value] of Object.entries(state)) if (node.dataset[name] !== value) node.dataset[name] = value;
  setAria(node, row, view);
  updateName(node.parts, row, view);
  updateBars(node.parts, row, view);
  updateTimes(node.parts, row, view);
}

function setAria(node, row, { index, isSelected, isFocusable }) {
  const attributes = {
    "aria-level": row.level,
    "aria-posinset": row.position,
    "aria-setsize": row.siblings,
    "aria-rowindex": index + 2,
    "aria-selected": isSelected,
    "aria-expanded": row.children.length ? row.isOpen : null,
  };
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
  }
  node.tabIndex = isFocusable ? 0 : -1;
}

function updateName(parts, row, { translate, tree }) {
  const { span } = row;
  parts.indent.style.setProperty("--level", String(Math.min(row.level - 1, MAX_INDENTS)));
  drawGuides(parts.indent, row);
  parts.toggle.dataset.open = row.children.length ? String(row.isOpen) : "";
  setText(parts.kind, LETTERS[span.kind] ?? "S");
  parts.kind.setAttribute("aria-label", translate(`kind.${span.kind}`));
  setText(parts.label, span.name);
  setText(parts.rank, row.rank ? String(row.rank) : "");
  parts.rank.title = row.rank ? translate("timeline.rank", { rank: row.rank }) : "";
  setText(parts.group, row.group?.first ? translate("timeline.parallel", { count: row.group.size }) : "");
  setText(parts.count, row.children.length && !row.isOpen ? String(row.count) : "");
  parts.count.title = translate("timeline.inside", { count: row.count });
  setText(parts.state, stateText(row, translate, tree));
  setText(parts.detail, detailOf(row));
}

function stateText(row, translate, tree) {
  if (row.only) {
    return translate("timeline.only", { number: tree[row.only].number });
  }
  const status = statusOf(row.span);
  if (status === "fatal" || SHOWN.has(status)) return translate(`span.${status}`);
  const hidden = row.isOpen ? 0 : row.errors;
  return hidden ? translate("timeline.errors", { count: hidden }) : "";
}

function detailOf({ span }) {
  const message = isOrigin(span) || !span.children.length ? span.error?.message : "";
  return (message || span.detail || "").slice(0, 300);
}

/** Lines along rows that run at the same time, one for each level. */
function drawGuides(indent, row) {
  const guides = [];
  for (let each = row; each; each = each.parent) {
    if (!each.group || each.level > MAX_INDENTS) continue;
    const isLast = each === row && each.group.last && !row.isOpen;
    guides.push(`${each.level - 1}${each === row && each.group.first ? "first" : ""}${isLast ? "last" : ""}`);
  }
  const drawn = guides.join(" ");
  if (indent.dataset.guides === drawn) return;
  indent.dataset.guides = drawn;
  indent.replaceChildren(...guides.map((guide) => {
    const line = make("i", `guide ${guide.replace(/\d+/, "")}`);
    line.style.setProperty("--level", String(parseInt(guide, 10)));
    return line;
  }));
}

function updateBars(parts, row, { axis }) {
  const isInferred = row.span.endIsInferred === true;
  placeBar(parts.bar, axis, row.start, row.duration);
  parts.bar.dataset.inferred = String(isInferred);
  const second = parts["bar second"];
  second.hidden = row.other === null;
  if (row.other) {
    const start = row.other.start - axis.secondStart;
    placeBar(second, axis, start, row.otherDuration);
    second.dataset.status = statusOf(row.other);
  }
  parts.wait.hidden = !row.wait;
  if (row.wait) placeBar(parts.wait, axis, Math.max(axis.from, row.start - row.wait), Math.min(row.wait, row.start - axis.from));
  parts.track.setAttribute("aria-label", formatOffset(row.start));
}

function placeBar(bar, { from, to }, start, duration) {
  const percent = (value) => `${(value * 100).toFixed(3)}%`;
  const length = to - from;
  bar.style.setProperty("inset-inline-start", percent(Math.min(1, Math.max(0, (start - from) / length))));
  bar.style.setProperty("inline-size", percent(Math.min(1, duration / length)));
}

function updateTimes(parts, row, { translate }) {
  const own = formatMs(row.duration);
  const text = row.other ? `${own} / ${formatMs(row.otherDuration)}` : own;
  setText(parts.value, text);
  parts.time.title = row.isSlowest ? translate("timeline.ofLevel") : "";
  const delta = deltaOf(row);
  setText(parts.delta, row.other ? signed(delta) : "");
  parts.delta.dataset.slower = String(delta > 0);
}

/** @returns {string} "+1.20 s", "−30 ms" or "=" */
export function signed(ms) {
  if (Math.abs(ms) < 1) return "=";
  return `${ms > 0 ? "+" : "\u2212"}${formatMs(Math.abs(ms))}`;
}
