/**
 * What the events of a job report about its spans. Any program may have published them: each function
 * returns a valid value for any input.
 */
import { asObject, asText } from "./untrusted.js";

const NAME_CHARS = 200;
const STARTS = new Map([
  ["task_started", "task"],
  ["span_started", "span"],
  ["phase_update", "node"],
  ["model_call", "model"],
  ["tool_call", "tool"],
  ["retriever_call", "retriever"],
]);
const ENDS = new Map([
  ["task_completed", "task"],
  ["task_failed", "task"],
  ["task_retry", "task"],
  ["task_suspended", "task"],
  ["task_revoked", "task"],
  ["task_stopped", "task"],
  ["span_finished", "span"],
  ["phase_result", "node"],
  ["model_result", "model"],
  ["tool_result", "tool"],
  ["retriever_result", "retriever"],
  ["done", "graph"],
  ["interrupted", "graph"],
  ["cancelled", "graph"],
]);
/** Other programs may publish these without a `run_id`. */
const ANONYMOUS = new Set(["model", "tool", "retriever", "span"]);
const NAME_KEYS = {
  task: "task_type",
  span: "name",
  node: "phase",
  graph: "phase",
  phase: "phase",
  model: "model",
  tool: "tool",
  retriever: "retriever",
};
const STATUSES = new Map([
  ["done", "done"],
  ["completed", "done"],
  ["failed", "failed"],
  ["error", "error"],
  ["retry", "retry"],
  ["interrupted", "interrupted"],
  ["cancelled", "cancelled"],
]);
const STATUS_OF_TYPE = new Map([
  ["error", "failed"],
  ["task_failed", "failed"],
  ["task_retry", "retry"],
  ["task_suspended", "interrupted"],
  ["interrupted", "interrupted"],
  ["task_revoked", "cancelled"],
  ["task_stopped", "cancelled"],
  ["cancelled", "cancelled"],
]);
/** Keys of an event that are not its content. */
const OWN_KEYS = new Set(["run_id", "parent_run_id", "name", "event_type", "timestamp", "job_id", "data", "job_status"]);
const ERROR_LEVELS = new Set(["error", "critical", "fatal"]);
const REPORTS_ERROR = new Set(["failed", "error"]);

/** Text or a number as short text; "" for anything else. */
export function asName(value) {
  return typeof value === "string" || typeof value === "number" ? String(value).slice(0, NAME_CHARS) : "";
}

/** Any value as one short line, without the colour codes of terminals. */
export function asLine(value) {
  return asText(value).slice(0, 2 * NAME_CHARS).replace(/\x1b\[[\d;]*m/g, "").replace(/\s+/g, " ").trim().slice(0, NAME_CHARS);
}

/** The kind of the span that an event starts, or undefined. */
export function startedKind(type, runId) {
  const kind = STARTS.get(type);
  return kind && (runId || ANONYMOUS.has(kind)) ? kind : undefined;
}

/** A node has a step of its graph; other chains with a `phase` are graphs. */
export function preciseKind(kind, data) {
  if (kind !== "node") return kind;
  return Number.isInteger(data.step) && data.node === data.phase ? "node" : "graph";
}

/**
 * The kind of the span that an event ends, or undefined.
 * @param {import("./job-spans.js").Span|undefined} span  The span of the `run_id`.
 */
export function endedKind(type, data, runId, span) {
  const kind = ENDS.get(type);
  if (kind) return runId || ANONYMOUS.has(kind) ? kind : undefined;
  if (!runId) return undefined;
  const isOpen = span && span.end === null;
  if (type === "error") {
    if (!STATUSES.has(data.status) && !(isOpen && span.kind !== "task")) return undefined;
    return ["tool", "model", "retriever"].find((key) => data[key]) ?? "node";
  }
  // The event that ends a job also ends the span of its task.
  return isOpen && STATUSES.has(data.status) && Number.isFinite(data.seconds) ? span.kind : undefined;
}

export function endStatus(type, data) {
  return STATUSES.get(data.status) ?? STATUS_OF_TYPE.get(type) ?? "done";
}

export function spanName(kind, data) {
  return asLine(data[NAME_KEYS[kind]] ?? data.name) || kind;
}

export function secondsOf(data) {
  return Number.isFinite(data.seconds) && data.seconds > 0 ? Math.min(data.seconds, 1e9) : 0;
}

export function inputOf(kind, data) {
  if (kind === "tool") return data.input ?? null;
  if (kind === "model") return data.messages ?? null;
  if (kind === "retriever") return data.query ?? null;
  if (kind !== "span") return data.metadata ?? null;
  const given = Object.entries(data).filter(([key]) => !OWN_KEYS.has(key));
  return given.length ? Object.fromEntries(given) : null;
}

export function outputOf(kind, data) {
  if (kind === "tool") return data.output ?? null;
  if (kind === "task") return data.result ?? null;
  if (kind === "retriever") return data.documents ?? (data.count === undefined ? null : { count: data.count });
  if (kind !== "model") return null;
  const parts = Object.entries(data).filter(([key]) => ["content", "tool_calls", "citations"].includes(key));
  return parts.length ? Object.fromEntries(parts) : null;
}

/** @returns {{message: string, type: string, traceback: string}} */
export function errorOf(data) {
  const message = asText(data.message ?? data.error ?? (data.status === "error" ? data.output : ""));
  return { message, type: asName(data.error_type), traceback: asText(data.traceback) };
}

/** The runs that raised the error of a run. @returns {string[]} */
export function causeIds(data, runId) {
  const ids = Array.isArray(data.error_run_ids) ? data.error_run_ids.slice(0, 100) : [];
  return [data.error_run_id, ...ids].map(asName).filter((id) => id && id !== runId);
}

/** True if an event reports an error, of any severity. */
export function isErrorEvent(type, data) {
  if (type === "error" || type === "task_failed" || type === "events_lost") return true;
  if (type === "task_retry") return Boolean(data.error);
  return (ENDS.has(type) && REPORTS_ERROR.has(data.status)) || ERROR_LEVELS.has(asName(data.level).toLowerCase());
}

/** @param {unknown} value @returns {Record<string, any>|null} */
export function usageOf(value) {
  const usage = asObject(value);
  return Object.keys(usage).length ? usage : null;
}
