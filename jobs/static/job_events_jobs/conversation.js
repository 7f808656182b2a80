/**
 * The conversation of a job, derived from its events: messages of models, their prompts, calls of tools, questions
 * and errors, in the order of the log. Without DOM.
 *
 * @typedef {{
 *   kind: "answer"|"reasoning"|"refusal"|"prompt"|"tool"|"question"|"error"|"attempt",
 *   eventId: string, time: number|null, name: string, version: number, [key: string]: any,
 * }} Turn
 */
import { asLine, asName, errorOf, isErrorEvent } from "../job_events/span-events.js";
import { asList, asText, asTime, eventData } from "../job_events/untrusted.js";

/** Older turns are dropped. */
const MAX_TURNS = 5_000;
const TEXT_CHARS = 200_000;
/** Open calls without a run_id among which the one of a result is searched. */
const SEARCHED_TURNS = 50;

export class Conversation {
  constructor() {
    this.clear();
  }

  clear() {
    /** @type {Turn[]} */
    this.turns = [];
    /** By run_id and kind. @type {Map<string, Turn>} */
    this.known = new Map();
    /** Turns that were dropped. */
    this.dropped = 0;
  }

  /** Adds an event. Never throws for its contents. */
  add(event) {
    const type = asText(event.event_type);
    const data = eventData(event);
    REDUCERS.get(type)?.(this, data, event);
    if ((type === "error" || type === "task_failed") && isErrorEvent(type, data)) addError(this, data, event);
    if (this.turns.length > MAX_TURNS) this.drop();
  }

  drop() {
    const count = MAX_TURNS / 5;
    const gone = new Set(this.turns.splice(0, count));
    this.dropped += count;
    for (const [key, turn] of this.known) if (gone.has(turn)) this.known.delete(key);
  }

  /** Ends the calls and texts that are open. */
  stop() {
    for (const turn of this.turns.filter(({ status, isOpen }) => status === "running" || isOpen)) {
      if (turn.status) turn.status = "stopped";
      turn.isOpen = false;
      turn.version += 1;
    }
  }

  begin(kind, event, data, values) {
    const turn = { kind, eventId: event.id, time: asTime(event.timestamp), name: "", node: asName(data.node), version: 0, ...values };
    this.turns.push(turn);
    return turn;
  }

  /** The turn of a call that a result belongs to, if it is known. */
  callOf(data, name) {
    const runId = asName(data.run_id);
    if (runId) return this.known.get(`${runId}/tool`);
    return this.turns.slice(-SEARCHED_TURNS).findLast((turn) => turn.kind === "tool" && turn.status === "running" && turn.name === name);
  }
}

const REDUCERS = new Map([
  ["thought", addText],
  ["model_call", addPrompt],
  ["model_result", endModel],
  ["tool_call", (conversation, data, event) => addCall(conversation, data, event, asLine(data.tool), data.input)],
  ["tool_result", (conversation, data, event) => addResult(conversation, data, event, asLine(data.tool), data.output)],
  ["retriever_call", (conversation, data, event) => addCall(conversation, data, event, asLine(data.retriever), data.query)],
  ["retriever_result", (conversation, data, event) =>
    addResult(conversation, data, event, asLine(data.retriever), data.documents ?? (data.count === undefined ? undefined : { count: data.count }))],
  ["input_requested", addQuestion],
  ["input_received", addAnswer],
  ["job_retried", beginAttempt],
]);

/** Calls of the attempt before will have no result. */
function beginAttempt(conversation, data, event) {
  conversation.stop();
  conversation.begin("attempt", event, data, { number: asText(data.attempt) });
}

function addText(conversation, data, event) {
  const text = typeof data.text === "string" ? data.text : "";
  const kind = data.kind === "reasoning" || data.kind === "refusal" ? data.kind : "answer";
  const runId = asName(data.run_id);
  const key = `${runId}/${kind}`;
  const last = conversation.turns.at(-1);
  const isSame = last?.isAnonymous && last.kind === kind && last.node === asName(data.node);
  let turn = runId ? conversation.known.get(key) : isSame ? last : undefined;
  if (!turn && !text) return;
  if (!turn) {
    turn = conversation.begin(kind, event, data, { name: asLine(data.model), pieces: [], chars: 0, isAnonymous: !runId, isOpen: Boolean(runId) });
    if (runId) conversation.known.set(key, turn);
  }
  const room = Math.max(0, TEXT_CHARS - turn.chars);
  if (text && room) turn.pieces.push(text.slice(0, room));
  turn.chars += text.length;
  turn.isCut = turn.chars > TEXT_CHARS;
  turn.version += 1;
  if (data.end === true) closeRun(conversation, runId);
}

function closeRun(conversation, runId) {
  for (const kind of ["answer", "reasoning", "refusal"]) {
    const turn = conversation.known.get(`${runId}/${kind}`);
    if (!turn) continue;
    turn.isOpen = false;
    turn.version += 1;
  }
}

function addPrompt(conversation, data, event) {
  const messages = asList(data.messages);
  if (messages.length) conversation.begin("prompt", event, data, { name: asLine(data.model), messages });
}

/** Content of other kinds than text, such as images and citations. */
function endModel(conversation, data, event) {
  const runId = asName(data.run_id);
  if (runId) closeRun(conversation, runId);
  const extra = Object.fromEntries(["content", "citations"].filter((key) => data[key] !== undefined && data[key] !== null).map((key) => [key, data[key]]));
  const turn = conversation.known.get(`${runId}/answer`);
  const isFailed = data.status === "failed" || data.status === "error";
  if (!Object.keys(extra).length || isFailed) return;
  const target = turn ?? conversation.begin("answer", event, data, { name: asLine(data.model), pieces: [], chars: 0 });
  target.extra = extra;
  target.version += 1;
}

function addCall(conversation, data, event, name, input) {
  const turn = conversation.begin("tool", event, data, { name, input, status: "running", output: undefined });
  const runId = asName(data.run_id);
  if (runId) conversation.known.set(`${runId}/tool`, turn);
}

function addResult(conversation, data, event, name, output) {
  const turn = conversation.callOf(data, name) ?? conversation.begin("tool", event, data, { name });
  const isFailed = data.status === "failed" || data.status === "error";
  Object.assign(turn, { output, status: isFailed ? "failed" : "done", seconds: Number.isFinite(data.seconds) ? data.seconds : null });
  turn.version += 1;
}

function addQuestion(conversation, data, event) {
  const turn = conversation.begin("question", event, data, { prompt: data.prompt ?? null, name: asName(data.name) });
  conversation.known.set(`${turn.name}/question`, turn);
}

function addAnswer(conversation, data, event) {
  const turn = conversation.known.get(`${asName(data.name)}/question`);
  const target = turn ?? conversation.begin("question", event, data, { prompt: asName(data.name) });
  Object.assign(target, { answer: data.value ?? null, isAnswered: true, by: asText(data.by), answeredAt: asTime(event.timestamp) });
  target.version += 1;
}

/** An error where it was raised. The runs around it report it again. */
function addError(conversation, data, event) {
  const runId = asName(data.run_id);
  const cause = asName(data.error_run_id);
  if (cause && cause !== runId) return;
  const { message, type } = errorOf(data);
  const call = runId ? conversation.known.get(`${runId}/tool`) : undefined;
  if (runId) closeRun(conversation, runId);
  if (call) {
    Object.assign(call, { status: "failed", error: { message, type } });
    call.version += 1;
  } else if (!conversation.turns.slice(-SEARCHED_TURNS).some((turn) => messageOf(turn) && message.includes(messageOf(turn)))) {
    conversation.begin("error", event, data, { error: { message, type } });
  }
}

const messageOf = (turn) => turn.error?.message ?? "";
