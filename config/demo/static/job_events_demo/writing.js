/**
 * Result view of the writing job: outline, thoughts and document, drawn from the "job-events" of the
 * job page. Each panel changes only what differs from its last state.
 */
import { byId, element, setText } from "../job_events_jobs/elements.js";
import { drawMarkdown } from "./markdown-view.js";
import { applyEvent, documentMarkdown, emptyState } from "./writing-state.js";

const SHOWN_THOUGHTS = 200;
const TITLE_LEVEL = 3;
const COPIED_MS = 2_000;
const NEAR_PX = 24;

/**
 * Follows the end of a scrolling element until the user scrolls up. Only scrolling changes the mode; a change
 * of the size does not.
 */
class Tail {
  /** @param {HTMLElement} scroller */
  constructor(scroller) {
    this.scroller = scroller;
    this.following = true;
    scroller.addEventListener("scroll", () => this.updateMode(), { passive: true });
  }

  updateMode() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight <= NEAR_PX;
  }

  /** Makes the change, then follows. */
  after(change) {
    change();
    if (this.following) this.follow();
  }

  follow() {
    this.following = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}

const strings = byId("writing").dataset;
const views = [createOutline(), createThoughts(), createDocument()];
let state = emptyState();

document.addEventListener("job-events", ({ detail: { events, restart, live } }) => {
  if (restart) state = emptyState();
  events.forEach((event) => applyEvent(state, event));
  views.forEach((draw) => draw(state, live));
});

/** Thoughts: new text is appended to the last text node. */
function createThoughts() {
  const scroller = byId("thoughts");
  const tail = new Tail(scroller);
  const placeholder = scroller.firstElementChild;
  let drawn = new Map();

  return function draw({ thoughts }) {
    tail.after(() => {
      const known = drawn;
      drawn = new Map(thoughts.slice(-SHOWN_THOUGHTS).map((thought) => [thought, known.get(thought) ?? drawThought(thought)]));
      for (const [thought, { node }] of known) if (!drawn.has(thought)) node.remove();
      if (!drawn.size) return scroller.replaceChildren(placeholder);
      placeholder.remove();
      for (const [thought, { node, text }] of drawn) {
        if (!node.isConnected) scroller.append(node);
        if (text.length < thought.text.length) text.appendData(thought.text.slice(text.length));
      }
    });
  };
}

function drawThought({ node: graphNode }) {
  const text = document.createTextNode("");
  const node = element("div", { class: "thought" });
  if (graphNode) node.append(element("p", { class: "thought-node" }, graphNode));
  node.append(element("p", { class: "thought-text", dir: "auto" }, text));
  return { node, text };
}

/** The outline as nested lists. A written section links to its text. */
function createOutline() {
  const scroller = byId("outline");
  const placeholder = scroller.firstElementChild;
  let source = null;
  scroller.addEventListener("click", goToSection);

  return function draw({ outline, document: text }) {
    if (outline !== source) scroller.replaceChildren(...(outline ? drawOutline(outline) : [placeholder]));
    source = outline;
    const written = new Set(text?.sections.map(({ key }) => key));
    for (const link of scroller.querySelectorAll("a[data-key]")) markWritten(link, written.has(link.dataset.key));
  };
}

function drawOutline({ title, nodes }) {
  const name = title ? [element("p", { class: "outline-name", dir: "auto" }, title)] : [];
  return [...name, drawNodes(nodes)];
}

function drawNodes(nodes) {
  const items = nodes.map(({ key, heading, summary, children }) => {
    const item = element("li", {}, element("a", { "data-key": key, dir: "auto" }, heading || strings.untitled));
    if (summary) item.append(element("p", { class: "outline-summary", dir: "auto" }, summary));
    if (children.length) item.append(drawNodes(children));
    return item;
  });
  return element("ul", { class: "outline", role: "list" }, ...items);
}

function markWritten(link, isWritten) {
  if (link.hasAttribute("href") === isWritten) return;
  link.toggleAttribute("href", isWritten);
  if (!isWritten) return;
  link.setAttribute("href", "#document");
  link.title = strings.written;
}

/** Scrolls inside the panel of the document; the page keeps its position. */
function goToSection(event) {
  const key = event.target.closest("a[href]")?.dataset.key;
  if (key === undefined) return;
  event.preventDefault();
  const panel = byId("document");
  const section = [...panel.children].find((child) => child.dataset.section === key);
  if (!section) return;
  panel.scrollTop += section.getBoundingClientRect().top - panel.getBoundingClientRect().top;
  const heading = section.querySelector("[tabindex]") ?? panel;
  heading.focus({ preventScroll: panel.getBoundingClientRect().top < innerHeight - 120 });
}

/** The document: a new section is appended, a changed section is replaced in place. */
function createDocument() {
  const scroller = byId("document");
  const tail = new Tail(scroller);
  const placeholder = scroller.firstElementChild;
  const title = element("h3", { class: "document-name", dir: "auto" });
  let drawn = new Map();
  let source = null;
  byId("copy").addEventListener("click", () => copy(documentMarkdown(source)));
  byId("download").addEventListener("click", () => download(source));

  return function draw({ document: text }, live) {
    source = text;
    for (const id of ["copy", "download"]) byId(id).disabled = !text;
    if (!text) {
      drawn = new Map();
      return scroller.replaceChildren(placeholder);
    }
    setText(title, text.title);
    tail.after(() => {
      drawn = drawSections(drawn, text.sections);
      arrange(scroller, [title, ...[...drawn.values()].map(({ node }) => node)]);
      // A text that is older than the page is shown from its start.
      if (!live) tail.updateMode();
    });
  };
}

function drawSections(drawn, sections) {
  const next = new Map();
  for (const section of sections) {
    const source = JSON.stringify(section);
    const known = drawn.get(section.key);
    next.set(section.key, known?.source === source ? known : { source, node: drawSection(section) });
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

/** Makes these nodes the children, in this order, without moving a node that is in its place. */
function arrange(parent, nodes) {
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

async function copy(text) {
  const button = byId("copy");
  const label = (button.dataset.label ??= button.textContent);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = strings.copied;
  } catch {
    button.textContent = strings.copyFailed;
  }
  byId("announce").textContent = button.textContent;
  setTimeout(() => (button.textContent = label), COPIED_MS);
}

function download(text) {
  const name = text.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 80);
  const url = URL.createObjectURL(new Blob([documentMarkdown(text)], { type: "text/markdown" }));
  element("a", { href: url, download: `${name || strings.file}.md` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
