/**
 * The prompt of a question, complete: its text, texts with their whitespace, two versions of a text as a
 * difference, everything else as a tree.
 */
import { expandTree, jsonTree, textBlock } from "../job_events/json-tree.js";
import { element, smallButton } from "./elements.js";

const TITLE_KEYS = ["text", "question", "message"];
const PAIRS = [
  ["before", "after"], ["old", "new"], ["original", "revised"], ["original", "proposed"], ["current", "proposed"],
];
/** Longer texts are cut until "Show all" is pressed. */
const TEXT_CHARS = 20_000;
const INLINE_CHARS = 100;
const TITLE_CHARS = 200;
/** Of an object with more keys, all are in one tree. */
const MAX_PARTS = 40;
/** Cells of the table of a difference. */
const MAX_CELLS = 1_000_000;

/**
 * @param {unknown} prompt  Any JSON value.
 * @param {string} id  Of the element that names the question.
 * @param {(name: string, values?: Object) => string} translate
 * @returns {HTMLElement}
 */
export function promptView(prompt, id, translate) {
  const { title, rest } = split(prompt);
  const view = element("div", { class: "prompt" });
  view.append(titleView(title ?? translate("question.untitled"), id, translate));
  if (rest !== undefined) view.append(restView(rest, translate));
  if (view.querySelector("details:not([open])")) view.append(smallButton(translate("json.expand"), () => view.querySelectorAll(".json-tree").forEach(expandTree)));
  return view;
}

/** @returns {string} The text of a question in one line. */
export function promptTitle(prompt) {
  const { title, rest } = split(prompt);
  return (title ?? JSON.stringify(rest) ?? "").slice(0, TITLE_CHARS * 4).replace(/\s+/g, " ").trim().slice(0, TITLE_CHARS);
}

function split(prompt) {
  if (typeof prompt === "string") return { title: prompt };
  const isObject = typeof prompt === "object" && prompt !== null && !Array.isArray(prompt);
  const key = isObject ? TITLE_KEYS.find((each) => typeof prompt[each] === "string" && prompt[each].trim()) : undefined;
  if (key === undefined) return { rest: prompt };
  const { [key]: title, ...rest } = prompt;
  return { title, rest: Object.keys(rest).length ? rest : undefined };
}

function titleView(title, id, translate) {
  if (title.length <= TEXT_CHARS) return element("p", { class: "question-text", dir: "auto", id }, title);
  const view = element("div", { class: "question-text", id });
  view.append(textBlock(title, { translate, chars: TEXT_CHARS }));
  return view;
}

function restView(rest, translate) {
  const isObject = typeof rest === "object" && rest !== null && !Array.isArray(rest);
  if (!isObject || Object.keys(rest).length > MAX_PARTS) return jsonTree(rest, { translate, open: 4 });
  const pairs = PAIRS.filter((pair) => pair.every((key) => typeof rest[key] === "string")).slice(0, 1);
  const list = element("dl", { class: "prompt-parts" });
  for (const [before, after] of pairs) {
    list.append(...part(`${before} → ${after}`, differenceView(rest[before], rest[after], translate)));
  }
  for (const [key, value] of Object.entries(rest)) {
    if (!pairs.flat().includes(key)) list.append(...part(key, partView(value, translate)));
  }
  return list;
}

const part = (label, ...views) => [
  element("dt", { dir: "auto" }, label.replaceAll("_", " ") || '""'),
  element("dd", { dir: "auto" }, ...views),
];

function partView(value, translate) {
  if (typeof value === "object" && value !== null) return jsonTree(value, { translate, open: 4 });
  const text = String(value);
  if (text.length <= INLINE_CHARS && !text.includes("\n")) return text || '""';
  return textBlock(text, { translate, chars: TEXT_CHARS });
}

function differenceView(before, after, translate) {
  const lines = before.length + after.length > TEXT_CHARS * 4 ? null : difference(before.split("\n"), after.split("\n"));
  if (!lines) return element("div", {}, ...[before, after].map((text) => textBlock(text, { translate, chars: TEXT_CHARS })));
  const names = { "-": "del", "+": "ins", " ": "span" };
  return element("div", { class: "difference", role: "group", "aria-label": translate("question.difference") },
    ...lines.map(([sign, text]) => element("div", { class: "difference-line", "data-sign": sign },
      element("span", { class: "difference-sign", "aria-hidden": "true" }, sign),
      element(names[sign], { dir: "auto" }, text || "\u200b"))));
}

/** @returns {["+"|"-"|" ", string][]|null} Lines of both texts; null if the texts are too long to compare. */
function difference(before, after) {
  let [start, end] = [0, 0];
  const shorter = Math.min(before.length, after.length);
  while (start < shorter && before[start] === after[start]) start += 1;
  while (end < shorter - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const old = before.slice(start, before.length - end);
  const added = after.slice(start, after.length - end);
  if (old.length * added.length > MAX_CELLS) return null;
  const same = (lines) => lines.map((line) => [" ", line]);
  return [...same(before.slice(0, start)), ...changes(old, added), ...same(before.slice(before.length - end))];
}

/** The longest common subsequence of lines, with the lines around it removed or added. */
function changes(old, added) {
  const width = added.length + 1;
  const lengths = new Uint16Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = added.length - 1; j >= 0; j -= 1) {
      const [right, below, diagonal] = [i * width + j + 1, (i + 1) * width + j, (i + 1) * width + j + 1];
      lengths[i * width + j] = old[i] === added[j] ? lengths[diagonal] + 1 : Math.max(lengths[right], lengths[below]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < added.length) {
    if (i < old.length && j < added.length && old[i] === added[j]) {
      lines.push([" ", old[i]]);
      [i, j] = [i + 1, j + 1];
    } else if (j === added.length || (i < old.length && lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) {
      lines.push(["-", old[i]]);
      i += 1;
    } else {
      lines.push(["+", added[j]]);
      j += 1;
    }
  }
  return lines;
}
