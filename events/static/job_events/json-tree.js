/**
 * A JSON value as a tree that can be collapsed. Children are created when their parent is opened, long lists
 * in steps and long texts cut, so that large values do not freeze the page. Inserts text, never markup.
 */

const STEP = 100;
const TEXT_CHARS = 2_000;
const GIST_CHARS = 80;
const GIST_VALUES = 4;
/** Containers below are shown as text: no tree is readable there, and indentation has an end. */
const MAX_DEPTH = 24;
/** Limits what `expandTree` opens. */
const MAX_OPEN = 1_000;

/** Styles for a document or a shadow root, as text for a constructable style sheet. */
export const jsonTreeStyles = `
.json-tree { font: 0.8125rem/1.6 var(--job-events-mono, ui-monospace, Menlo, Consolas, monospace); overflow-wrap: anywhere; min-width: 0; }
.json-tree details > div { padding-inline-start: 1.1em; border-inline-start: 1px solid var(--job-events-line, light-dark(#e3e0d9, #2f3337)); margin-inline-start: 0.3em; }
.json-tree summary { cursor: pointer; }
.json-tree summary:focus-visible, .json-tree button:focus-visible { outline: 2px solid var(--job-events-accent, light-dark(#0b6b61, #5ec9b8)); outline-offset: 1px; }
.json-tree .json-item { padding-inline-start: 1.1em; }
.json-tree > .json-item { padding-inline-start: 0; }
.json-tree .json-key { color: var(--job-events-soft, light-dark(#615d55, #a6a8aa)); unicode-bidi: isolate; }
.json-tree .json-gist { color: var(--job-events-soft, light-dark(#615d55, #a6a8aa)); }
.json-tree details[open] > summary > .json-start { display: none; }
.json-tree .json-value { unicode-bidi: isolate; }
.json-tree .json-value[data-kind="number"], .json-tree .json-value[data-kind="boolean"] { color: var(--job-events-running, light-dark(#1c5aa8, #8bbcf5)); }
.json-tree .json-value[data-kind="null"] { color: var(--job-events-soft, light-dark(#615d55, #a6a8aa)); font-style: italic; }
.json-text { margin: 0.15em 0 0.35em; padding: 0.5em 0.7em; border-radius: 6px; background: var(--job-events-sunken, light-dark(#f3f1ed, #232629)); font: inherit; white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4; text-align: start; }
.json-more { padding: 0.1em 0.5em; border: 1px solid var(--job-events-line, light-dark(#e3e0d9, #2f3337)); border-radius: 6px; background: none; color: var(--job-events-accent, light-dark(#0b6b61, #5ec9b8)); font: inherit; cursor: pointer; }
`;

/**
 * @param {unknown} value  Any JSON value.
 * @param {{translate: (name: string, values?: Object) => string, open?: number}} options
 *   `translate` returns the texts of timeline-texts.js. `open`: number of levels that are open at first.
 * @returns {HTMLElement}
 */
export function jsonTree(value, { translate, open = 2 }) {
  const root = make("div", "json-tree");
  root.append(drawItem(null, value, { translate, open, depth: 0 }));
  return root;
}

/**
 * A text with its whitespace; a long one is cut until "Show all" is pressed.
 * @param {string} text
 * @param {{translate: (name: string, values?: Object) => string, chars?: number}} options
 * @returns {HTMLElement}
 */
export function textBlock(text, { translate, chars = TEXT_CHARS }) {
  const block = make("pre", "json-text");
  block.dir = "auto";
  if (text.length <= chars) {
    block.append(text);
    return block;
  }
  const shown = document.createTextNode(`${text.slice(0, chars)}…\n`);
  const more = moreButton(translate("json.all", { count: text.length }));
  more.addEventListener("click", () => {
    shown.data = text;
    removeButton(more, block);
  });
  block.append(shown, more);
  return block;
}

/** Opens every part of a tree, at most so many that the page stays fast. */
export function expandTree(tree) {
  const waiting = [...tree.querySelectorAll("details")];
  for (let count = 0; waiting.length && count < MAX_OPEN; count += 1) {
    const node = waiting.shift();
    const isNew = node.childElementCount === 1;
    openNode(node);
    if (isNew) waiting.push(...node.querySelectorAll("details"));
  }
}

/** @returns {string|null} The value as indented JSON; null if it is nested too deeply for the browser. */
export function jsonText(value, space = 2) {
  try {
    return JSON.stringify(value, null, space) ?? "null";
  } catch {
    return null;
  }
}

/** Functions that create the children of closed nodes. @type {WeakMap<Element, () => Element>} */
const unopened = new WeakMap();

function drawItem(key, value, context) {
  if (isContainer(value) && !isEmpty(value)) return drawContainer(key, value, context);
  const item = make("div", "json-item");
  if (key !== null) item.append(label(key));
  if (typeof value === "string" && (value.includes("\n") || value.length > TEXT_CHARS)) {
    item.append(textBlock(value, context));
  } else {
    item.append(leaf(value, key === null));
  }
  return item;
}

function leaf(value, isRoot) {
  const node = make("span", "json-value");
  node.dataset.kind = value === null || value === undefined ? "null" : typeof value;
  node.dir = "auto";
  if (isContainer(value)) node.textContent = Array.isArray(value) ? "[]" : "{}";
  else node.textContent = typeof value === "string" && !isRoot ? quoted(value) : String(value ?? null);
  return node;
}

/** The text, with quotation marks where it could be mistaken for another value or for nothing. */
function quoted(text) {
  const isPlain = text !== "" && text.trim() === text && !/^(-?\d|(true|false|null)$)/.test(text);
  return isPlain ? text : `"${text}"`;
}

function drawContainer(key, value, context) {
  const node = make("details");
  const summary = make("summary");
  if (key !== null) summary.append(label(key));
  summary.append(...gistOf(value));
  node.append(summary);
  const inner = { ...context, depth: context.depth + 1 };
  unopened.set(node, () => (context.depth >= MAX_DEPTH ? drawDeep(value, inner) : drawChildren(value, inner)));
  node.addEventListener("toggle", () => node.open && openNode(node));
  if (context.depth < context.open) openNode(node);
  return node;
}

function openNode(node) {
  const draw = unopened.get(node);
  unopened.delete(node);
  if (draw) node.append(draw());
  node.open = true;
}

function drawDeep(value, { translate }) {
  const children = make("div");
  children.append(textBlock(jsonText(value, 0) ?? translate("json.deep"), { translate }));
  return children;
}

function drawChildren(value, context) {
  const children = make("div");
  const keys = Array.isArray(value) ? null : Object.keys(value);
  const total = keys?.length ?? value.length;
  const more = moreButton("");
  let drawn = 0;
  const step = () => {
    const until = Math.min(total, drawn + STEP);
    for (; drawn < until; drawn += 1) {
      const key = keys ? keys[drawn] : drawn;
      more.before(drawItem(String(key), value[key], context));
    }
    if (drawn === total) removeButton(more, children);
    else more.textContent = context.translate("json.more", { count: total - drawn });
  };
  children.append(more);
  more.addEventListener("click", step);
  step();
  return children;
}

function moreButton(text) {
  const button = make("button", "json-more");
  button.type = "button";
  button.textContent = text;
  return button;
}

/** Removes a button; if it has the focus, what it has shown receives it. */
function removeButton(button, shown) {
  if (button.matches(":focus")) {
    shown.tabIndex = -1;
    shown.focus({ preventScroll: true });
  }
  button.remove();
}

function label(key) {
  const node = make("span", "json-key");
  node.dir = "auto";
  node.textContent = key || '""';
  const whole = make("span");
  whole.append(node, ": ");
  return whole;
}

/** The size of a container, and its start in one line. Reads its first values only. */
function gistOf(value) {
  const isList = Array.isArray(value);
  const keys = Object.keys(isList ? value.slice(0, GIST_VALUES) : value);
  const words = keys.slice(0, GIST_VALUES).map((key) => (isList ? "" : `${key.slice(0, 30)}: `) + brief(value[key]));
  const [size, start] = [make("span", "json-gist"), make("span", "json-gist json-start")];
  size.textContent = isList ? `[${value.length}]` : `{${keys.length}}`;
  start.dir = "auto";
  start.textContent = words.join(", ").replace(/\s+/g, " ").slice(0, GIST_CHARS);
  return [size, " ", start];
}

function brief(value) {
  if (isContainer(value)) return Array.isArray(value) ? "[…]" : "{…}";
  return String(value).slice(0, 30);
}

const isContainer = (value) => typeof value === "object" && value !== null;
const isEmpty = (value) => (Array.isArray(value) ? value : Object.keys(value)).length === 0;

function make(name, className = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  return node;
}
