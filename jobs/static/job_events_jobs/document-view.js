/**
 * The document as it comes: sections append, a changed one is replaced in place, the rest is not touched.
 */
import { byId, element, setText, Tail } from "./elements.js";
import { documentMarkdown } from "./job-state.js";
import { drawMarkdown } from "./markdown-view.js";

const TITLE_LEVEL = 3;

/**
 * @param {(name: string, values?: Object) => string} say
 * @param {(text: string) => void} announce
 */
export function createDocumentView(say, announce) {
  const scroller = byId("document");
  const tail = new Tail(scroller);
  const placeholder = scroller.firstElementChild;
  const title = element("h3", { class: "document-name", dir: "auto" });
  /** @type {Map<string, {node: HTMLElement, source: string}>} */
  let drawn = new Map();
  let markdown = "";
  wireTools(say, announce, () => markdown, () => title.textContent);

  return function draw(state, isLive) {
    const { document: written } = state;
    byId("document-panel").hidden &&= !written;
    for (const id of ["copy", "download"]) byId(id).disabled = !written;
    markdown = written ? documentMarkdown(written) : "";
    if (!written) {
      drawn = new Map();
      scroller.replaceChildren(placeholder);
      return;
    }
    setText(title, written.title);
    tail.after(() => {
      drawn = drawSections(drawn, shownSections(written));
      arrange(scroller, [title, ...[...drawn.values()].map(({ node }) => node)]);
      // What was written before the page was opened is read from its beginning.
      if (!isLive) tail.look();
    });
  };
}

/** A document without sections is one section: its Markdown. */
function shownSections(written) {
  if (written.sections.length || !written.markdown) return written.sections;
  return [{ key: "markdown", level: 0, heading: "", text: written.markdown }];
}

function drawSections(drawn, sections) {
  const next = new Map();
  for (const section of sections) {
    const source = JSON.stringify(section);
    const known = drawn.get(section.key);
    const keep = known?.source === source;
    next.set(section.key, keep ? known : { source, node: drawSection(section) });
  }
  return next;
}

function drawSection({ key, level, heading, text }) {
  const node = element("section", { class: "document-section", "data-section": key });
  const headingLevel = Math.min(6, TITLE_LEVEL + Math.max(1, level));
  if (heading) node.append(element(`h${headingLevel}`, { dir: "auto", tabindex: "-1" }, heading));
  node.append(drawMarkdown(text, level ? headingLevel + 1 : TITLE_LEVEL));
  return node;
}

/** Makes the children these nodes in this order, moving none that is in its place. */
function arrange(parent, nodes) {
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

function wireTools(say, announce, markdown, title) {
  const copy = byId("copy");
  const label = copy.textContent;
  copy.addEventListener("click", async () => {
    const done = await copyText(markdown());
    copy.textContent = say(done ? "copy.done" : "copy.failed");
    announce(copy.textContent);
    setTimeout(() => (copy.textContent = label), 2000);
  });
  byId("download").addEventListener("click", () => {
    const name = title().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80);
    download(`${name || say("document.file")}.md`, markdown());
  });
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** For pages without https, where there is no clipboard API. */
function copyBySelection(text) {
  const area = element("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  const focused = document.activeElement;
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
