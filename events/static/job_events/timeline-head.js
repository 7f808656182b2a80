/**
 * What stands above the rows of the timeline: the slowest steps, the facets and the axis.
 */
import { formatMs, formatOffset, formatTick, tickStep } from "./time-format.js";
import { LETTERS, make, setText, signed } from "./timeline-row.js";
import { deltaOf, facetCounts } from "./timeline-rows.js";

/** Facets in this order; the others follow by their name. */
const FACETS = ["errors", "model", "tool", "retriever", "node"];
const OUTER = new Set(["task", "graph"]);
const MIN_ROWS_FOR_FACETS = 4;
const TICK_PX = 64;
/** The share of the axis at its end in which no mark fits. */
const LAST_TICK = 0.94;

/** Replaces the children only if the drawn state differs, so that the focus stays. */
function redraw(node, state, build) {
  const key = JSON.stringify(state);
  if (node.dataset.state === key) return;
  node.dataset.state = key;
  const index = [...node.querySelectorAll("button")].indexOf(node.getRootNode().activeElement);
  node.replaceChildren(...build());
  if (index >= 0) node.querySelectorAll("button")[index]?.focus({ preventScroll: true });
}

/** The steps that took the most time of their own, or whose time differs most, as buttons. */
export function drawSlowest(node, tree, { translate, onSelect }) {
  const { first, second } = tree;
  const rows = tree.bySpan.size > 1 ? tree.slowest : [];
  const state = rows.map((row) => [row.key, row.span.name, valueOf(row, tree), shareOf(row, tree)]);
  // An empty line keeps the rows below in their place until a running job has steps to compare.
  node.hidden = !rows.length && !second && !tree.isRunning;
  redraw(node, [second?.number ?? null, ...state], () => {
    const title = make("span", "title");
    const numbers = { first: first.number, second: second?.number };
    title.textContent = second ? translate("timeline.compared", numbers) : translate("timeline.slowest");
    return [title, ...rows.map((row) => slowestButton(row, tree, translate, onSelect))];
  });
}

/** The outermost step around a row that is neither the task nor its graph: "analyst[3] ›". */
function withinOf(row) {
  let found = null;
  for (let each = row.parent; each; each = each.parent) if (!OUTER.has(each.span.kind)) found = each;
  return found ? `${found.span.name} ›` : "";
}

/** Events of one type differ by their fields. */
function titleOf(row) {
  const { kind, name, baseName, detail } = row.span;
  const isOneOfMany = kind === "event" && name !== baseName && detail;
  return isOneOfMany ? { within: "", label: detail } : { within: withinOf(row), label: name };
}

const shareOf = (row, tree) => `${Math.round((100 * row.own) / Math.max(tree.duration, row.own, 1))} %`;
const valueOf = (row, tree) => (tree.second ? signed(deltaOf(row)) : formatMs(row.own));

function slowestButton(row, tree, translate, onSelect) {
  const button = make("button", "slow");
  button.type = "button";
  const parts = {
    rank: String(row.rank),
    ...titleOf(row),
    value: valueOf(row, tree),
    share: tree.second ? "" : shareOf(row, tree),
  };
  for (const [name, text] of Object.entries(parts)) {
    const part = make("span", name);
    setText(part, text);
    if (name === "label" || name === "within") part.dir = "auto";
    button.append(part);
  }
  button.style.setProperty("--share", tree.second ? "0" : shareOf(row, tree).replace(" ", ""));
  button.dataset.kind = row.span.kind;
  button.addEventListener("click", () => onSelect(row.key));
  return button;
}

/** Buttons that show only some kinds of steps, with the number of each; and a field to search in all of them. */
export function drawFacets(node, search, tree, filter, { translate, onFilter }) {
  const counts = facetCounts(tree);
  const kinds = [...counts.keys()].sort((a, b) => rankOf(a) - rankOf(b) || a.localeCompare(b));
  const shown = kinds.filter((kind) => counts.get(kind) || (kind === "errors" && filter.errors));
  const isUseful = (tree.bySpan.size >= MIN_ROWS_FOR_FACETS && shown.length > 1) || tree.isRunning || isOn(filter);
  node.parentElement.hidden = !isUseful;
  if (search.value !== filter.text && search.getRootNode().activeElement !== search) search.value = filter.text;
  const facets = isUseful ? shown.map((kind) => [kind, counts.get(kind) ?? 0, isFacetOn(filter, kind)]) : [];
  redraw(node, facets, () => facets.map((facet) => facetButton(facet, translate, () => onFilter(toggled(filter, facet[0])))));
}

const rankOf = (kind) => (FACETS.includes(kind) ? FACETS.indexOf(kind) : FACETS.length);
const isFacetOn = (filter, kind) => (kind === "errors" ? filter.errors : filter.kinds.includes(kind));
export const isOn = (filter) => filter.errors || filter.kinds.length > 0 || filter.text !== "";

function toggled(filter, kind) {
  if (kind === "errors") return { ...filter, errors: !filter.errors };
  const kinds = filter.kinds.includes(kind) ? filter.kinds.filter((each) => each !== kind) : [...filter.kinds, kind];
  return { ...filter, kinds };
}

function facetButton([kind, count, pressed], translate, onClick) {
  const button = make("button", "facet");
  button.type = "button";
  button.dataset.kind = kind;
  button.setAttribute("aria-pressed", String(pressed));
  const badge = make("span", "kind");
  badge.textContent = LETTERS[kind] ?? "!";
  badge.setAttribute("aria-hidden", "true");
  const label = translate(`facet.${kind}`);
  button.append(badge, label === `facet.${kind}` ? translate(`kind.${kind}`) : label, " ", String(count));
  button.addEventListener("click", onClick);
  return button;
}

/**
 * The axis of a tree. While steps are running it ends at a round time, so that bars grow within it.
 * @returns {{from: number, to: number, step: number, secondStart: number}}
 */
export function axisOf(tree, width) {
  const most = Math.max(2, Math.floor(width / TICK_PX));
  const step = tickStep(tree.to - tree.from, most);
  const from = tree.from < -0.01 * tree.to ? tree.from : 0;
  const to = tree.isRunning ? Math.ceil((tree.to * 1.02) / step) * step : tree.to;
  return { from, to, step, secondStart: tree.second?.start ?? 0 };
}

/** Marks of the axis, and the distance of the lines in the rows below. */
export function drawAxis(node, grid, { from, to, step }) {
  const length = to - from;
  const first = Math.ceil(from / step) * step;
  const percent = (time) => `${((time / length) * 100).toFixed(4)}%`;
  grid.style.setProperty("--tick", percent(step));
  grid.style.setProperty("--first", percent(first - from));
  redraw(node, [from, to, step], () => {
    const marks = [];
    for (let time = first; (time - from) / length < LAST_TICK; time += step) {
      const mark = make("span", "tick");
      mark.textContent = formatTick(time);
      mark.style.setProperty("inset-inline-start", percent(time - from));
      marks.push(mark);
    }
    return marks;
  });
}

/** The times of a row, shown beside the pointer. */
export function fillTip(tip, row, tree, { translate }) {
  const lines = [row.span.name, `${formatOffset(row.start)} → ${formatOffset(row.end)} · ${formatMs(row.duration)}`];
  if (row.other) {
    const numbers = [tree.first.number, tree.second.number];
    const [first, second] = numbers.map((number) => translate("timeline.attempt", { number }));
    lines[1] = `${first}: ${lines[1]}`;
    const start = row.other.start - tree.second.start;
    lines.push(`${second}: ${formatOffset(start)} → ${formatOffset(start + row.otherDuration)} · ${formatMs(row.otherDuration)}`);
  }
  if (row.wait) lines.push(translate("timeline.queued", { time: formatMs(row.wait) }));
  if (row.span.endIsInferred) lines.push(translate("timeline.inferred"));
  tip.replaceChildren(...lines.map((text) => Object.assign(make("div", ""), { textContent: text, dir: "auto" })));
}
