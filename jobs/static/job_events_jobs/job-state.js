/**
 * What the job page shows, built from the job's events alone: reading the log again builds it again.
 *
 * @typedef {{runId: string, node: string, text: string}} Thought
 * @typedef {{runId: string, name: string, input: string, output: string, status: "running"|"done"|"failed"}} Tool
 * @typedef {{key: string, level: number, heading: string, text: string}} Section
 * @typedef {{name: string, text: string, choices: string[]}} Question
 * @typedef {{key: string, heading: string, summary: string, children: OutlineNode[]}} OutlineNode
 */
import { asLabel, asList, asObject, asPercent, asText, asTime } from "./untrusted.js";

const STATUSES = new Set(["pending", "running", "completed", "failed", "cancelled"]);
const OVER = new Set(["completed", "failed", "cancelled"]);
const MAX_DEPTH = 12;

/** The parts of the state that an attempt begins with. */
function freshAttempt() {
  return {
    phase: "",
    progress: 0,
    message: "",
    startedAt: null,
    finishedAt: null,
    thoughts: [],
    tools: [],
    outline: null,
    document: null,
    result: undefined,
    errors: [],
    /** What is asked and not answered, by name. @type {Map<string, Question>} */
    questions: new Map(),
  };
}

/**
 * @param {{status: string, attempt: number, progress: number, error: string}} job  As the page was made.
 */
export function initialState(job) {
  return {
    ...freshAttempt(),
    status: STATUSES.has(job.status) ? job.status : "pending",
    attempt: job.attempt,
    progress: asPercent(job.progress) ?? 0,
    startedAt: asTime(job.started_at),
    finishedAt: asTime(job.finished_at),
    errors: job.error ? [{ message: asText(job.error), type: "" }] : [],
    /** Names of the parts that changed since they were last drawn. */
    changed: new Set(["head", "errors"]),
    replaying: true,
  };
}

export function isOver(state) {
  return OVER.has(state.status);
}

/**
 * Applies one event. Never throws for what an event holds.
 * @param {ReturnType<typeof initialState>} state
 * @param {import("../job_events/job-events.js").JobEvent} event
 */
export function applyEvent(state, event) {
  const outer = asObject(event.data);
  // The callback handler nests its payload once more.
  const data = { ...outer, ...asObject(outer.data) };
  if (state.replaying) beginReplay(state);
  const apply = REDUCERS.get(asText(event.event_type));
  if (apply) apply(state, data, event);
  applyStatus(state, outer.job_status ?? data.job_status, event);
}

/** The first event of the log: from here the log says what there is, not the page as it was made. */
function beginReplay(state) {
  state.replaying = false;
  state.errors = [];
  state.changed.add("errors");
}

function applyStatus(state, status, event) {
  if (!STATUSES.has(status)) return;
  state.status = status;
  if (OVER.has(status)) {
    state.finishedAt = asTime(event.timestamp) ?? state.finishedAt;
    state.changed.add("tools").add("result").add("questions");
  }
  state.changed.add("head");
}

/** The job as the API gives it: for what no event said. */
export function applyJob(state, job) {
  if (STATUSES.has(job.status)) state.status = job.status;
  state.progress = asPercent(job.progress) ?? state.progress;
  state.startedAt = asTime(job.started_at) ?? state.startedAt;
  state.finishedAt = asTime(job.finished_at) ?? state.finishedAt;
  if (job.error && !state.errors.length) addError(state, { message: job.error });
  if (job.result !== null && job.result !== undefined) state.result = job.result;
  for (const part of ["head", "tools", "result", "questions"]) state.changed.add(part);
}

const REDUCERS = new Map([
  ["job_created", setAttempt],
  ["job_retried", startAttempt],
  ["task_started", startTask],
  ["task_progress", setProgress],
  ["task_completed", completeTask],
  ["task_failed", (state, data) => addError(state, { message: data.error, type: data.error_type })],
  ["phase_update", setPhase],
  ["thought", addThought],
  ["tool_call", addToolCall],
  ["tool_result", addToolResult],
  ["error", handlerError],
  ["outline_generated", setOutline],
  ["document_section", addSection],
  ["document_generated", setDocument],
  ["input_requested", ask],
  ["input_received", takeAnswer],
]);

function setAttempt(state, data) {
  if (Number.isInteger(data.attempt)) state.attempt = data.attempt;
  state.changed.add("head");
}

function startAttempt(state, data) {
  Object.assign(state, freshAttempt());
  setAttempt(state, data);
  for (const part of PARTS) state.changed.add(part);
}

/** Everything that is drawn on its own. */
export const PARTS = ["head", "errors", "questions", "thoughts", "tools", "outline", "document", "result"];

function startTask(state, data, event) {
  state.startedAt ??= asTime(event.timestamp);
  setAttempt(state, data);
}

function setProgress(state, data) {
  state.progress = asPercent(data.progress) ?? asPercent(data.progress_percent) ?? state.progress;
  if (data.message !== undefined) state.message = asText(data.message);
  state.changed.add("head");
}

function completeTask(state, data) {
  if (data.result !== undefined && data.result !== null) state.result = data.result;
  if (data.job_status === "completed") state.progress = 100;
  state.changed.add("head").add("result");
}

function setPhase(state, data) {
  state.phase = asLabel(data.phase);
  state.changed.add("head");
}

function addThought(state, data) {
  const runId = asText(data.run_id);
  const last = state.thoughts.findLast((thought) => thought.runId === runId);
  if (last) last.text += asText(data.text);
  else state.thoughts.push({ runId, node: asLabel(data.node), text: asText(data.text) });
  state.changed.add("thoughts");
}

function addToolCall(state, data) {
  state.tools.push({ ...newTool(data), input: asText(data.input), status: "running" });
  state.changed.add("tools");
}

function addToolResult(state, data) {
  const tool = runningTool(state, data) ?? pushed(state.tools, newTool(data));
  Object.assign(tool, { output: asText(data.output), status: "done" });
  state.changed.add("tools");
}

function newTool(data) {
  return { runId: asText(data.run_id), name: asText(data.tool), input: "", output: "", status: "done" };
}

function runningTool(state, data) {
  const runId = asText(data.run_id);
  return state.tools.findLast((tool) => tool.status === "running" && tool.runId === runId);
}

function handlerError(state, data) {
  const tool = data.run_id ? runningTool(state, data) : undefined;
  if (tool) {
    Object.assign(tool, { output: asText(data.message), status: "failed" });
    state.changed.add("tools");
  }
  addError(state, { message: data.message ?? data.error, type: data.error_type });
}

function ask(state, data) {
  const name = asText(data.name);
  const choices = asList(data.choices).map(asText).filter(Boolean);
  state.questions.set(name, { name, text: questionText(data.prompt), choices });
  state.changed.add("questions");
}

/** What is asked: text, or the part of an object that is usually it. */
function questionText(prompt) {
  const { text, question, message } = asObject(prompt);
  return asText(text ?? question ?? message ?? prompt);
}

function takeAnswer(state, data) {
  state.questions.delete(asText(data.name));
  state.changed.add("questions");
}

function addError(state, { message, type }) {
  const error = { message: asText(message), type: asText(type) };
  // The failing node, its graph and the task report the same error one after the other.
  if (state.errors.some((known) => known.message === error.message)) return;
  state.errors.push(error);
  state.changed.add("errors");
}

function setOutline(state, data) {
  const outline = asObject(data.outline);
  state.outline = {
    title: asText(outline.title),
    nodes: asList(outline.sections).map((section, index) => outlineNode(section, `${index}`, 1)),
  };
  state.changed.add("outline");
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
  const document = currentDocument(state);
  const section = readSection(asObject(data.section), `#${document.sections.length}`, 1);
  const known = document.sections.findIndex((other) => other.key === section.key);
  if (known >= 0) document.sections[known] = section;
  else document.sections.push(section);
  state.changed.add("document").add("outline");
}

function currentDocument(state) {
  state.document ??= { title: state.outline?.title ?? "", sections: [], markdown: "" };
  return state.document;
}

function readSection(section, key, depth) {
  const level = Number.isInteger(section.level) ? Math.min(6, Math.max(1, section.level)) : depth;
  return {
    key: asText(section.id) || key,
    level,
    heading: asText(section.heading ?? section.title),
    text: asText(section.text ?? section.content),
  };
}

function setDocument(state, data) {
  const given = typeof data.document === "string" ? { markdown: data.document } : asObject(data.document);
  const known = currentDocument(state);
  const sections = flatSections(asList(given.sections), 1, []);
  state.document = {
    title: asText(given.title) || known.title,
    // A final document without sections still has those that came one by one.
    sections: sections.length || given.markdown ? sections : known.sections,
    markdown: asText(given.markdown),
  };
  state.changed.add("document").add("outline");
}

function flatSections(sections, depth, found) {
  for (const value of sections) {
    const section = asObject(value);
    found.push(readSection(section, `#${found.length}`, depth));
    if (depth < MAX_DEPTH) flatSections(asList(section.sections), depth + 1, found);
  }
  return found;
}

/** @returns {string} The document as Markdown: as it was given, or made of its sections. */
export function documentMarkdown(document) {
  if (document.markdown) return document.markdown;
  const parts = document.sections.flatMap(({ level, heading, text }) => [
    heading && `${"#".repeat(Math.min(6, level + 1))} ${heading}`,
    text.trim(),
  ]);
  return [document.title && `# ${document.title}`, ...parts].filter(Boolean).join("\n\n") + "\n";
}

function pushed(list, item) {
  list.push(item);
  return item;
}
