/**
 * Draws the parts of the job page from its state: head, errors, thoughts, tools, outline, result.
 * Each draws only what differs from what it drew before.
 */
import { byId, element, setText, Tail } from "./elements.js";
import { isOver } from "./job-state.js";

const SHOWN_THOUGHTS = 200;
const SHOWN_TOOLS = 200;

/** Status, phase, progress, buttons; says a new status or phase to screen readers. */
export function createHead(say, announce) {
  const badge = byId("job-badge").firstElementChild;
  let [status, phase] = [badge.dataset.status, ""];
  return function draw(state) {
    const percent = Math.round(state.progress);
    badge.dataset.status = state.status;
    setText(badge, say(`status.${state.status}`));
    setText(byId("attempt"), String(state.attempt));
    setText(byId("phase"), isOver(state) ? "" : state.phase);
    setText(byId("phase-note"), isOver(state) ? "" : state.message);
    setText(byId("percent"), say("percent", { percent }));
    byId("progress").value = percent;
    showButtons(state);
    if (state.status !== status) announce(say("announce.status", { status: badge.textContent }));
    else if (state.phase && state.phase !== phase) announce(say("announce.phase", { phase: state.phase }));
    [status, phase] = [state.status, state.phase];
  };
}

function showButtons(state) {
  const [cancel, retry] = [byId("cancel-form"), byId("retry-form")];
  const hadFocus = cancel.contains(document.activeElement);
  cancel.hidden = isOver(state);
  retry.hidden = !["failed", "cancelled"].includes(state.status);
  if (!cancel.hidden) cancel.querySelector("button").disabled = false;
  else if (hadFocus) (retry.hidden ? byId("job-title") : retry.querySelector("button")).focus();
}

/** What went wrong in this attempt. */
export function createErrors(say) {
  return function draw({ errors }) {
    byId("problem").hidden = errors.length === 0;
    byId("problem-list").replaceChildren(
      ...errors.map(({ message, type }) => {
        const item = element("li", { dir: "auto" }, message || say("error.unnamed"));
        if (type) item.append(" ", element("code", {}, type));
        return item;
      }),
    );
  };
}

/** Thoughts: a piece of text is appended to what is there, nothing is drawn anew. */
export function createThoughts(say) {
  const scroller = byId("thoughts");
  const tail = new Tail(scroller);
  const placeholder = scroller.firstElementChild;
  /** @type {Map<Object, {node: HTMLElement, text: Text}>} */
  let drawn = new Map();

  const drawThought = (thought) => {
    const text = document.createTextNode("");
    const node = element("div", { class: "thought" });
    if (thought.node) {
      const heading = element("p", { class: "thought-node" }, thought.node);
      heading.title = say("thought.from", { node: thought.node });
      node.append(heading);
    }
    node.append(element("p", { class: "thought-text", dir: "auto" }, text));
    return { node, text };
  };

  return function draw({ thoughts }) {
    byId("thoughts-panel").hidden &&= !thoughts.length;
    tail.after(() => {
      const shown = thoughts.slice(-SHOWN_THOUGHTS);
      const known = drawn;
      drawn = new Map(shown.map((thought) => [thought, known.get(thought) ?? drawThought(thought)]));
      for (const [thought, { node }] of known) if (!drawn.has(thought)) node.remove();
      if (!shown.length) return scroller.replaceChildren(placeholder);
      placeholder.remove();
      for (const [thought, { node, text }] of drawn) {
        if (!node.isConnected) scroller.append(node);
        if (text.length < thought.text.length) text.appendData(thought.text.slice(text.length));
      }
    });
  };
}

/** Tool calls, each with its input and its result to open. */
export function createTools(say) {
  const scroller = byId("tools");
  const tail = new Tail(scroller);
  const placeholder = scroller.firstElementChild;
  let drawn = new Map();

  return function draw(state) {
    byId("tools-panel").hidden &&= !state.tools.length;
    tail.after(() => {
      const shown = state.tools.slice(-SHOWN_TOOLS);
      const known = drawn;
      drawn = new Map(shown.map((tool) => [tool, known.get(tool) ?? drawTool()]));
      for (const [tool, { node }] of known) if (!drawn.has(tool)) node.remove();
      if (!shown.length) return scroller.replaceChildren(placeholder);
      placeholder.remove();
      for (const [tool, parts] of drawn) {
        if (!parts.node.isConnected) scroller.append(parts.node);
        fillTool(say, parts, tool, isOver(state));
      }
    });
  };
}

function drawTool() {
  const parts = {
    name: element("span", { class: "tool-name", dir: "auto" }),
    gist: element("span", { class: "tool-gist", dir: "auto" }),
    status: element("span", { class: "tool-status" }),
    body: element("div", { class: "tool-body" }),
  };
  const summary = element("summary", {}, parts.name, parts.gist, parts.status);
  return { ...parts, node: element("details", { class: "tool" }, summary, parts.body) };
}

function fillTool(say, parts, tool, over) {
  const status = tool.status === "running" && over ? "stopped" : tool.status;
  if (parts.node.dataset.status === status) return;
  parts.node.dataset.status = status;
  setText(parts.name, tool.name || say("tool.unknown"));
  setText(parts.gist, tool.input.replace(/\s+/g, " ").slice(0, 120));
  setText(parts.status, say(`tool.${status}`));
  const part = (title, text) =>
    text ? [element("h3", {}, title), element("pre", { class: "json", dir: "auto" }, text)] : [];
  parts.body.replaceChildren(
    ...part(say("tool.input"), tool.input),
    ...part(say("tool.output"), tool.output),
  );
}

/** The outline as nested lists; a written section is marked, and leads to its text. */
export function createOutline(say) {
  const scroller = byId("outline");
  const placeholder = scroller.firstElementChild;
  let [source, written] = [null, new Set()];
  scroller.addEventListener("click", goToSection);

  return function draw({ outline, document: text }) {
    byId("outline-panel").hidden &&= !outline;
    written = new Set(text?.sections.map(({ key }) => key));
    if (outline !== source) {
      source = outline;
      scroller.replaceChildren(...(outline ? drawOutline(say, outline) : [placeholder]));
    }
    for (const link of scroller.querySelectorAll("a[data-key]")) markWritten(say, link, written);
  };
}

function drawOutline(say, { title, nodes }) {
  const name = title ? [element("p", { class: "outline-name", dir: "auto" }, title)] : [];
  return [...name, drawNodes(say, nodes)];
}

function drawNodes(say, nodes) {
  return element("ul", { class: "outline", role: "list" }, ...nodes.map((node) => drawNode(say, node)));
}

function drawNode(say, { key, heading, summary, children }) {
  const link = element("a", { "data-key": key, dir: "auto" }, heading || say("outline.untitled"));
  const item = element("li", {}, link);
  if (summary) item.append(element("p", { class: "outline-summary", dir: "auto" }, summary));
  if (children.length) item.append(drawNodes(say, children));
  return item;
}

function markWritten(say, link, written) {
  const done = written.has(link.dataset.key);
  if (link.hasAttribute("href") === done) return;
  if (!done) return link.removeAttribute("href");
  link.setAttribute("href", "#document");
  link.title = say("outline.written");
}

/** Scrolls inside the document's panel, so that the page itself stays where it is. */
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

/** The result of a job that wrote no document; a task of a job that goes on may have one, too. */
export function createResult() {
  return function draw(state) {
    const { result, document: text } = state;
    const shown = isOver(state) && result !== undefined && !text;
    byId("result-panel").hidden = !shown;
    if (shown) setText(byId("result"), JSON.stringify(result, null, 2));
  };
}
