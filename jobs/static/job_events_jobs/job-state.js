/**
 * State of the job page, derived from the events of the job.
 *
 * @typedef {{runId: string, name: string, input: string, output: string, status: "running"|"done"|"failed"}} Tool
 * @typedef {{name: string, text: string, choices: string[]}} Question
 */
import { asLabel, asList, asObject, asPercent, asText, asTime, eventData } from "../job_events/untrusted.js";

const STATUSES = new Set(["pending", "running", "completed", "failed", "cancelled"]);
const OVER = new Set(["completed", "failed", "cancelled"]);

/** @returns The state at the start of an attempt. */
function freshAttempt() {
  return {
    phase: "",
    progress: 0,
    message: "",
    startedAt: null,
    finishedAt: null,
    tools: [],
    result: undefined,
    errors: [],
    /** Open questions by name. @type {Map<string, Question>} */
    questions: new Map(),
  };
}

/**
 * @param {{status: string, attempt: number, progress: number, error: string}} job  As of the page load.
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
    /** Parts that changed since they were drawn. */
    changed: new Set(["head", "errors"]),
    replaying: true,
  };
}

export function isOver(state) {
  return OVER.has(state.status);
}

/**
 * Applies one event. Never throws for the contents of an event.
 * @param {ReturnType<typeof initialState>} state
 * @param {import("../job_events/job-events.js").JobEvent} event
 */
export function applyEvent(state, event) {
  const data = eventData(event);
  if (state.replaying) beginReplay(state);
  const apply = REDUCERS.get(asText(event.event_type));
  if (apply) apply(state, data, event);
  applyStatus(state, asObject(event.data).job_status ?? data.job_status, event);
}

/** Discards the error of the page load; the log contains the errors from its start. */
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

/** Applies the job of the API, for changes without an event. */
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
  ["tool_call", addToolCall],
  ["tool_result", addToolResult],
  ["error", handlerError],
  ["input_requested", addQuestion],
  ["input_received", removeQuestion],
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

/** Parts that are drawn separately. */
export const PARTS = ["head", "errors", "questions", "tools", "result"];

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

function addToolCall(state, data) {
  state.tools.push({ ...newTool(data), input: asText(data.input), status: "running" });
  state.changed.add("tools");
}

function addToolResult(state, data) {
  const tool = runningTool(state, data) ?? pushed(state.tools, newTool(data));
  const isFailed = data.status === "failed" || data.status === "error";
  Object.assign(tool, { output: asText(data.output), status: isFailed ? "failed" : "done" });
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
  // The run that raised the error has reported it.
  if (data.error_run_id && data.error_run_id !== data.run_id) return;
  addError(state, { message: data.message ?? data.error, type: data.error_type });
}

function addQuestion(state, data) {
  const name = asText(data.name);
  const choices = asList(data.choices).map(asText).filter(Boolean);
  state.questions.set(name, { name, text: questionText(data.prompt), choices });
  state.changed.add("questions");
}

/** The text of a question: the prompt, or its usual text field. */
function questionText(prompt) {
  const { text, question, message } = asObject(prompt);
  return asText(text ?? question ?? message ?? prompt);
}

function removeQuestion(state, data) {
  state.questions.delete(asText(data.name));
  state.changed.add("questions");
}

function addError(state, { message, type }) {
  const error = { message: asText(message), type: asText(type) };
  // The failing node, its graph and the task report the same error in turn.
  if (state.errors.some((known) => known.message === error.message)) return;
  state.errors.push(error);
  state.changed.add("errors");
}

function pushed(list, item) {
  list.push(item);
  return item;
}
