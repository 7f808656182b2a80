/**
 * The facts of a job, derived from its events: status, attempts, progress, errors, tokens, spans. Without DOM.
 *
 *     const model = new JobModel(job);
 *     for (const event of events) model.add(event);
 *
 * Any program may have published the events: every field is validated, and nothing throws. The types are in
 * job-model.d.ts.
 */
import { asAttempt, Attempt, TERMINAL, STATUSES } from "./job-attempts.js";
import { resolveErrors } from "./job-errors.js";
import { SpanTree } from "./job-spans.js";
import { asLine, asName, errorOf, isErrorEvent } from "./span-events.js";
import { Usage } from "./job-usage.js";
import { asList, asObject, asPercent, asText, asTime, eventData } from "./untrusted.js";

const STATUS_OF_TYPE = new Map([
  ["task_started", "running"],
  ["task_progress", "running"],
  ["task_completed", "completed"],
  ["task_failed", "failed"],
]);
/** Only these events report the status of their job; other programs may use the key, too. */
const REPORTS_STATUS = /^(job|task|input)_/;
/** What is published about a job before its work begins. */
const BEFORE_WORK = new Set(["job_created", "job_retried", "task_enqueued", "task_started"]);
const MAX_QUESTIONS = 100;
const MAX_TYPES = 1_000;
const MAX_LOOSE = 1_000;
/** A timestamp further from the id of its event is invalid. Replayed events keep the original ones. */
const YEAR_MS = 366 * 86_400_000;

export class JobModel {
  /** @param {Record<string, any>|null} [job]  The job of the API, if it is known. */
  constructor(job = null) {
    this.tree = new SpanTree();
    /** @type {Map<number, Attempt>} */
    this.numbered = new Map();
    /** The attempt of the latest event. */
    this.number = 1;
    this.count = this.toolCalls = this.toolErrors = this.errorCount = 0;
    this.types = new Map();
    this.questions = new Map();
    this.used = new Usage();
    this.published = undefined;
    this.time = 0;
    /** Messages of errors that belong to no span. */
    this.looseErrors = [];
    this.handled = this.handledBefore = 0;
    this.lastWorker = "";
    this.setJob(job);
  }

  /** Sets what the API reports, which may be newer than the events. */
  setJob(job) {
    this.job = job === null ? null : asObject(job);
    if (job === null) return;
    const { attempts, attempt, status, started_at, finished_at, error, phase, progress, first_event_at } = this.job;
    for (const row of asList(attempts).map(asObject)) {
      if (asAttempt(row.number)) this.attemptOf(row.number).row = row;
    }
    const current = this.attemptOf(asAttempt(attempt) ?? 1);
    current.row = { ...current.row, status, started_at, finished_at, error, phase, progress };
    this.attemptOf(1).row.first_event_at = first_event_at;
    this.tree.isChanged = true;
  }

  attemptOf(number) {
    let attempt = this.numbered.get(number);
    if (!attempt) this.numbered.set(number, (attempt = new Attempt(number)));
    return attempt;
  }

  /** Adds the next event. */
  add(event) {
    if (!event || typeof event !== "object") return;
    const type = asName(event.event_type);
    const data = eventData(event);
    const time = (this.time = this.timeOf(event));
    if (this.count === 0) this.begin(type, time);
    this.count += 1;
    if (this.types.has(type) || this.types.size < MAX_TYPES) this.types.set(type, (this.types.get(type) ?? 0) + 1);
    const label = asAttempt(asObject(event.data).attempt);
    this.advance(type, label, time);
    const attempt = this.attemptOf(this.number);
    const span = this.tree.add({ event, type, data, attempt: this.number, time });
    if (isErrorEvent(type, data)) this.countError(type, data, span);
    REDUCERS.get(type)?.(this, data, attempt, event);
    if (label === null || label >= this.number) this.applyStatus(type, data, event);
  }

  /** The log may begin within an attempt. */
  begin(type, time) {
    if (type === "job_created") return;
    for (const { number, created } of this.numbered.values()) {
      if (created !== null && created <= time) this.number = Math.max(this.number, number);
    }
  }

  timeOf(event) {
    const ofId = Number.parseInt(event.id, 10);
    const stated = asTime(event.timestamp);
    if (Number.isFinite(ofId) && (stated === null || Math.abs(stated - ofId) > YEAR_MS)) return ofId;
    return stated ?? this.time;
  }

  advance(type, label, time) {
    const isRetry = type === "job_retried";
    if (isRetry || type === "task_started") {
      const number = label ?? this.number + Number(isRetry);
      if (number > this.number) {
        this.tree.closeAttempts(this.number, time);
        this.number = number;
        this.questions.clear();
        this.published = undefined;
      }
    }
    const attempt = this.attemptOf(this.number);
    if (isRetry || type === "job_created") {
      attempt.began = true;
      attempt.createdAt ??= time;
    } else attempt.firstAt ??= time;
    if (!BEFORE_WORK.has(type)) attempt.workAt ??= time;
  }

  countError(type, data, span) {
    this.errorCount += 1;
    if (type !== "error" || span?.isStep || this.tree.failed.has(span)) return;
    this.looseErrors.push(errorOf(data).message);
    if (this.looseErrors.length > MAX_LOOSE) this.handledBefore += this.looseErrors.splice(0, MAX_LOOSE / 2).length;
  }

  applyStatus(type, data, event) {
    const given = REPORTS_STATUS.test(type) && STATUSES.has(data.job_status) ? data.job_status : null;
    const status = given ?? STATUS_OF_TYPE.get(type);
    const attempt = this.attemptOf(this.number);
    if (!status || (attempt.isEnded && !TERMINAL.has(given))) return;
    attempt.reported = status;
    if (!TERMINAL.has(status)) return;
    attempt.isEnded = true;
    attempt.endedAt = this.time;
    this.questions.clear();
    const error = errorOf({ ...data, message: data.error ?? data.message });
    if (status === "failed") attempt.failure = { ...error, eventId: event.id, spanId: asName(data.run_id) };
    if (status === "completed") {
      attempt.percent = 100;
      this.published = data.result ?? this.published;
    }
    const outcome = status === "completed" ? "done" : status;
    this.tree.closeAttempts(this.number, this.time, { outcome, error, errorEventId: event.id });
  }

  /** Removes events that have left the window. */
  trim(events) {
    for (const event of events) {
      const type = asName(event?.event_type);
      const left = (this.types.get(type) ?? 0) - 1;
      if (left > 0) this.types.set(type, left);
      else this.types.delete(type);
      if (isErrorEvent(type, eventData(event ?? {}))) this.errorCount -= 1;
    }
    this.resolve();
    for (const span of this.tree.trim(events)) this.handledBefore += Number(span.isCounted === true);
    this.tree.isChanged = true;
  }

  resolve() {
    if (!this.tree.isChanged) return;
    this.tree.isChanged = false;
    this.handled = resolveErrors(this.tree, this.numbered);
  }

  /** The number of the current attempt. */
  get attempt() {
    return Math.max(this.number, asAttempt(this.job?.attempt) ?? 1);
  }

  get current() {
    return this.attemptOf(this.attempt);
  }

  get attempts() {
    return [...this.numbered.values()].sort((a, b) => a.number - b.number);
  }

  get result() {
    const isOfApi = this.published === undefined && this.attempt === this.job?.attempt;
    return isOfApi ? (this.job.result ?? undefined) : this.published;
  }

  get worker() {
    return this.lastWorker || asText(this.job?.worker) || null;
  }

  get usage() {
    return this.used.merged(asObject(this.job?.usage));
  }

  get modelCalls() {
    return this.used.calls(this.usage);
  }

  get tokens() {
    return this.used.tokens(this.usage);
  }

  get handledErrors() {
    this.resolve();
    const failures = this.attempts.map(({ failure }) => failure?.message ?? "");
    const loose = this.looseErrors.filter((message) => !failures.some((text) => text.includes(message)));
    return this.handledBefore + this.handled + loose.length;
  }

  /** Deliveries of tasks of the current attempt after which the queue delivered the task again. */
  get retries() {
    const isRetry = ({ kind, outcome, attempt }) => kind === "task" && outcome === "retry" && attempt === this.attempt;
    return [...this.tree.failed].filter(isRetry).length;
  }

  get fatal() {
    return this.fatalOf(this.attempt);
  }

  /** The error that ended an attempt, or null. */
  fatalOf(number) {
    const attempt = this.numbered.get(number);
    if (attempt?.status !== "failed") return null;
    this.resolve();
    const { failure, origin, phase, progress } = attempt;
    return {
      eventId: origin?.errorEventId ?? failure?.eventId ?? null,
      spanId: origin?.id ?? null,
      message: origin?.error?.message || attempt.error,
      type: origin?.error?.type || failure?.type || "",
      traceback: origin?.error?.traceback || failure?.traceback || "",
      phase,
      progress,
      attempt: number,
    };
  }

  get spans() {
    this.resolve();
    return this.tree.spans;
  }

  /** The outermost spans of an attempt. */
  roots(number = this.attempt) {
    this.resolve();
    return this.tree.roots.get(number) ?? [];
  }

  spanOf(eventId) {
    return this.tree.byEvent.get(eventId) ?? null;
  }
}

for (const name of ["status", "phase", "progress", "message", "start", "end", "queueSeconds", "firstEventSeconds"]) {
  Object.defineProperty(JobModel.prototype, name, {
    get() {
      return this.current[name];
    },
  });
}

/** By event type: (model, data, attempt, event) => void. */
const REDUCERS = new Map([
  ["task_started", startTask],
  ["task_progress", setProgress],
  ["phase_update", (_model, data, attempt) => (attempt.phaseName = asLine(data.phase) || attempt.phaseName)],
  ["model_call", (model) => (model.used.started += 1)],
  ["model_result", (model, data) => model.used.add(data)],
  ["tool_call", (model) => (model.toolCalls += 1)],
  ["tool_result", (model, data) => (model.toolErrors += Number(["failed", "error"].includes(data.status)))],
  ["error", (model, data) => (model.toolErrors += Number(Boolean(data.tool)))],
  ["input_requested", addQuestion],
  ["input_received", (model, data) => model.questions.delete(asName(data.name))],
]);

function startTask(model, data, attempt) {
  attempt.startedAt ??= model.time;
  model.lastWorker = asLine(data.worker) || model.lastWorker;
}

function setProgress(_model, data, attempt) {
  attempt.percent = asPercent(data.progress) ?? asPercent(data.progress_percent) ?? attempt.percent;
  if (data.message !== undefined) attempt.message = asText(data.message);
}

function addQuestion(model, data, attempt, event) {
  const name = asName(data.name);
  if (model.questions.size >= MAX_QUESTIONS) return;
  const choices = asList(data.choices).map(asText).filter(Boolean);
  model.questions.set(name, { name, prompt: data.prompt ?? null, choices, attempt: attempt.number, eventId: event.id });
}
