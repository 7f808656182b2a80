/**
 * Draws a subset of Markdown as elements: paragraphs, headings, lists, quotes, tables, code, emphasis and links.
 * Other markup, HTML included, is shown as text.
 */
import { element } from "../job_events_jobs/elements.js";

const FENCE = /^\s{0,3}(```|~~~)/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^\s{0,6}(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
const QUOTE = /^\s{0,3}>\s?(.*)$/;
const TABLE_RULE = /^\s*\|?(?:\s*:?-+:?\s*\|)+\s*(?::?-+:?\s*)?$/;
const INLINE = /(`+)([^`]+)\1|\*\*([^*\n]+)\*\*|__([^_\n]+)__|\*([^*\s][^*\n]*)\*|\[([^\]\n]+)\]\(([^()\s]+)\)/g;
const LINK_PROTOCOLS = new Set(["http:", "https:"]);

/**
 * @param {string} source
 * @param {number} baseLevel  The heading level that "#" stands for.
 * @returns {DocumentFragment}
 */
export function drawMarkdown(source, baseLevel) {
  const fragment = document.createDocumentFragment();
  const lines = source.replace(/\r\n?/g, "\n").split("\n");
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) at += 1;
    else at = drawBlock(fragment, lines, at, baseLevel);
  }
  return fragment;
}

/** Draws the block that begins at the line; returns the line after it. */
function drawBlock(parent, lines, at, baseLevel) {
  if (FENCE.test(lines[at])) return drawCode(parent, lines, at);
  const heading = HEADING.exec(lines[at]);
  if (heading) return drawHeading(parent, heading, at, baseLevel);
  if (ITEM.test(lines[at])) return drawList(parent, lines, at);
  if (QUOTE.test(lines[at])) return drawQuote(parent, lines, at);
  if (isTable(lines, at)) return drawTable(parent, lines, at);
  return drawParagraph(parent, lines, at);
}

function drawCode(parent, lines, at) {
  const mark = FENCE.exec(lines[at])[1];
  let end = at + 1;
  while (end < lines.length && !lines[end].trim().startsWith(mark)) end += 1;
  parent.append(element("pre", { class: "code", tabindex: "0", dir: "ltr" }, element("code", {}, lines.slice(at + 1, end).join("\n"))));
  return end + 1;
}

function drawHeading(parent, [, marks, text], at, baseLevel) {
  const level = Math.min(6, baseLevel + marks.length - 1);
  parent.append(withInline(element(`h${level}`, { dir: "auto" }), text));
  return at + 1;
}

function drawList(parent, lines, at) {
  const list = element(ITEM.exec(lines[at])[1] ? "ol" : "ul", { dir: "auto" });
  let end = at;
  for (; end < lines.length; end += 1) {
    const item = ITEM.exec(lines[end]);
    if (item) list.append(withInline(element("li"), item[2]));
    else if (/^\s+\S/.test(lines[end])) withInline(list.lastChild, ` ${lines[end].trim()}`);
    else break;
  }
  parent.append(list);
  return end;
}

function drawQuote(parent, lines, at) {
  const quoted = [];
  let end = at;
  for (; end < lines.length && QUOTE.test(lines[end]); end += 1) quoted.push(QUOTE.exec(lines[end])[1]);
  parent.append(withInline(element("blockquote", { dir: "auto" }), quoted.join(" ")));
  return end;
}

function isTable(lines, at) {
  return lines[at].includes("|") && TABLE_RULE.test(lines[at + 1] ?? "");
}

function drawTable(parent, lines, at) {
  const body = element("tbody");
  let end = at + 2;
  for (; end < lines.length && lines[end].includes("|"); end += 1) {
    body.append(drawTableRow("td", lines[end]));
  }
  const table = element("table", {}, element("thead", {}, drawTableRow("th", lines[at])), body);
  parent.append(element("div", { class: "table", tabindex: "0", dir: "auto" }, table));
  return end;
}

function drawTableRow(cell, line) {
  const inner = line.trim().replace(/^\||\|$/g, "");
  // A bar that is escaped, or within code, is text.
  const cells = inner.match(/(?:\\.|`[^`]*`|[^|])+|(?<=\|)(?=\|)/g) ?? [];
  const texts = cells.map((text) => text.trim().replaceAll("\\|", "|"));
  return element("tr", {}, ...texts.map((text) => withInline(element(cell), text)));
}

function drawParagraph(parent, lines, at) {
  let end = at + 1;
  const other = (line) => !line.trim() || [FENCE, HEADING, ITEM, QUOTE].some((form) => form.test(line));
  while (end < lines.length && !other(lines[end]) && !isTable(lines, end)) end += 1;
  parent.append(withInline(element("p", { dir: "auto" }), lines.slice(at, end).join("\n")));
  return end;
}

function withInline(parent, text) {
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    parent.append(text.slice(at, match.index), inlineNode(match));
    at = match.index + match[0].length;
  }
  parent.append(text.slice(at));
  return parent;
}

function inlineNode([whole, , code, strong, strongToo, emphasis, label, href]) {
  if (code !== undefined) return element("code", {}, code);
  if (strong ?? strongToo) return element("strong", {}, strong ?? strongToo);
  if (emphasis) return element("em", {}, emphasis);
  if (!URL.canParse(href) || !LINK_PROTOCOLS.has(new URL(href).protocol)) return whole;
  return element("a", { href, rel: "noopener noreferrer nofollow" }, label);
}
