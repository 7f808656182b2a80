/**
 * State of the writing view: thoughts, outline and document, derived from the events of the job.
 *
 * @typedef {{runId: string, node: string, text: string}} Thought
 * @typedef {{key: string, level: number, heading: string, text: string}} Section
 * @typedef {{key: string, heading: string, summary: string, children: OutlineNode[]}} OutlineNode
 */
import { asLabel, asList, asObject, asText, eventData } from "../job_events/untrusted.js";

const MAX_DEPTH = 12;

/** @returns The state before the first event of an attempt. */
export function emptyState() {
  return { thoughts: [], outline: null, document: null };
}

/** Applies one event. Never throws for the contents of an event. */
export function applyEvent(state, event) {
  REDUCERS.get(asText(event.event_type))?.(state, eventData(event));
}

const REDUCERS = new Map([
  ["job_retried", (state) => Object.assign(state, emptyState())],
  ["thought", addThought],
  ["outline_generated", setOutline],
  ["document_section", addSection],
  ["document_generated", setDocument],
]);

function addThought(state, data) {
  const runId = asText(data.run_id);
  const kind = asText(data.kind);
  const last = state.thoughts.findLast((thought) => thought.runId === runId && thought.kind === kind);
  if (last) last.text += asText(data.text);
  else if (data.text) state.thoughts.push({ runId, kind, node: asLabel(data.node), text: asText(data.text) });
}

function setOutline(state, data) {
  const outline = asObject(data.outline);
  const nodes = asList(outline.sections).map((section, index) => outlineNode(section, `${index}`, 1));
  state.outline = { title: asText(outline.title), nodes };
}

function outlineNode(value, path, depth) {
  const section = typeof value === "string" ? { heading: value } : asObject(value);
  const children = depth < MAX_DEPTH ? asList(section.sections) : [];
  return {
    key: asText(section.id) || path,
    heading: asText(section.heading ?? section.title),
    summary: asText(section.summary),
    children: children.map((child, index) => outlineNode(child, `${path}.${index}`, depth + 1)),
  };
}

function addSection(state, data) {
  state.document ??= { title: state.outline?.title ?? "", sections: [] };
  const { sections } = state.document;
  const section = readSection(asObject(data.section), sections.length);
  const known = sections.findIndex(({ key }) => key === section.key);
  sections.splice(known < 0 ? sections.length : known, 1, section);
}

function setDocument(state, data) {
  const given = typeof data.document === "string" ? { markdown: data.document } : asObject(data.document);
  const sections = asList(given.sections).map((section, index) => readSection(asObject(section), index));
  const markdown = asText(given.markdown);
  if (!sections.length && markdown) sections.push({ key: "markdown", level: 0, heading: "", text: markdown });
  state.document = {
    title: asText(given.title) || state.document?.title || "",
    sections: sections.length ? sections : (state.document?.sections ?? []),
  };
}

function readSection(section, index) {
  const level = Number.isInteger(section.level) ? Math.min(6, Math.max(1, section.level)) : 1;
  const heading = asText(section.heading ?? section.title);
  return { key: asText(section.id) || `#${index}`, level, heading, text: asText(section.text ?? section.content) };
}

/** @returns {string} The document as one Markdown text. */
export function documentMarkdown({ title, sections }) {
  const parts = sections.flatMap(({ level, heading, text }) => [
    heading && `${"#".repeat(Math.min(6, level + 1))} ${heading}`,
    text.trim(),
  ]);
  return [title && `# ${title}`, ...parts].filter(Boolean).join("\n\n") + "\n";
}
