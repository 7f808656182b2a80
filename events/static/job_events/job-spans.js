/**
 * The spans of a job: a tree of timed steps, built from its events in their order. Without DOM.
 *
 * A span has a start event and an end event of one `run_id`. A `phase_update` without `run_id` is a step of
 * the kind "phase", which lasts until the next one. Events of an attempt that has neither are steps of the
 * kind "event", one for consecutive events of one type. The types are in job-model.d.ts.
 */
import { BRANCHES, Span } from "./span.js";
import * as read from "./span-events.js";

/** Open spans without `run_id` among which the start of an end is searched. */
const MAX_SEARCHED_SPANS = 100;
/** Names of siblings that are counted until the next trim. */
const MAX_COUNTED_NAMES = 5_000;
/** Deeper spans are shown as siblings: pages walk the tree by recursion. */
const MAX_DEPTH = 100;
/** Spans without an end that are kept when their events have left the window, the earliest ones. */
const MAX_OLD_OPEN = 500;
const LIFECYCLE = /^(job_(created|retried|cancelled)|task_.*)$/;
const FAILURES = new Set(["failed", "error", "retry"]);

export class SpanTree {
  constructor() {
    /** @type {Map<string, Span>} */
    this.spans = new Map();
    /** By attempt. @type {Map<number, Span[]>} */
    this.roots = new Map();
    this.byEvent = new Map();
    this.open = new Set();
    this.openTasks = new Set();
    this.anonymous = [];
    this.failed = new Set();
    /** Spans whose parent has not started yet, by its id. */
    this.orphans = new Map();
    /** Counts of names, by parent or attempt. */
    this.names = new Map();
    /** Attempts with phases, or with spans other than tasks. */
    this.detailed = new Set();
    /** The latest step, by task or attempt. @type {Map<Span|number, Span>} */
    this.latest = new Map();
    this.sequence = this.trimmed = 0;
    /** True if errors have to be resolved again. */
    this.isChanged = true;
  }

  /**
   * Adds an event; returns its span, or null.
   * @param {{event: Object, type: string, data: Record<string, any>, attempt: number, time: number}} entry
   */
  add(entry) {
    this.sequence += 1;
    const span = this.spanFor(entry);
    if (span === null) return null;
    const { event, type, data } = entry;
    if (type === "thought" && typeof data.text === "string") span.addText(read.asName(data.kind), data.text);
    if (type === "error" && span.isStep) this.setError(span, entry);
    span.keep(event);
    span.lastSequence = this.sequence;
    this.byEvent.set(event.id, span);
    return span;
  }

  spanFor(entry) {
    const { type, data } = entry;
    const runId = read.asName(data.run_id);
    const known = runId ? this.spans.get(runId) : undefined;
    const started = read.startedKind(type, runId);
    if (started) return this.begin(entry, runId, started, known);
    const ended = read.endedKind(type, data, runId, known);
    if (ended) return this.finish(entry, runId, ended, known);
    if (known) return known;
    if (type === "thought" && runId) return this.create(entry, runId, "model", { startIsInferred: true });
    if (type === "phase_update") return this.beginStep(entry, "phase", read.asLine(data.phase ?? data.message) || "phase");
    return this.stepOf(entry);
  }

  begin(entry, runId, kind, known) {
    if (known && !known.startIsInferred) return known; // a start that is repeated
    const { data, time } = entry;
    const actual = read.preciseKind(kind, data);
    const span = known ?? this.create(entry, runId, actual);
    if (known) Object.assign(span, { kind: actual, start: Math.min(time, span.end ?? time), startIsInferred: false });
    span.input = read.inputOf(kind, data);
    return span;
  }

  create(entry, runId, kind, values = {}) {
    const { event, data, attempt, time } = entry;
    const { parent: given, name, ...others } = values;
    const span = new Span(runId || `${kind}:${event.id}`, kind, name ?? read.spanName(kind, data), attempt, time);
    Object.assign(span, others);
    span.node = read.asName(data.node) || null;
    span.step = Number.isInteger(data.step) ? data.step : null;
    if (kind !== "task" && kind !== "event") this.dropRows(attempt);
    const parentId = read.asName(data.parent_run_id);
    const parent = given !== undefined ? given : (this.spans.get(parentId) ?? (runId ? null : this.container(attempt)));
    this.spans.set(span.id, span);
    this.open.add(span);
    if (kind === "task") this.openTasks.add(span);
    if (!runId && !span.isStep) this.anonymous.push(span);
    this.attach(span, parent);
    if (parentId && !parent) getOrAdd(this.orphans, parentId, () => []).push(span);
    if (this.orphans.has(span.id)) this.adopt(span);
    return span;
  }

  attach(span, around) {
    const parent = around?.depth === MAX_DEPTH ? around.parent : around;
    span.parent = parent;
    this.place(span);
    (parent ? parent.children : getOrAdd(this.roots, span.attempt, () => [])).push(span);
    if (FAILURES.has(span.outcome)) parent?.failedChildren.push(span);
    span.siblings = getOrAdd(this.names, parent ?? span.attempt, () => new Map());
    span.number = increment(span.siblings, span.baseName);
    if (span.step === null) return;
    span.branchNumber = increment(getOrAdd(span.siblings, BRANCHES, () => new Map()), span.step);
  }

  /** Sets the depth of a span and of those within it, and the height of those around it. */
  place(span) {
    span.depth = span.parent ? span.parent.depth + 1 : 0;
    let height = span.height;
    for (let each = span.parent; each && each.height <= height; each = each.parent) each.height = height += 1;
    const within = [span];
    while (within.length) {
      const each = within.pop();
      for (const child of each.children) {
        child.depth = each.depth + 1;
        if (child.children.length) within.push(child);
      }
    }
  }

  /** Moves spans that started before their parent, unless that would close a cycle or nest too deep. */
  adopt(parent) {
    const waiting = new Set(this.orphans.get(parent.id));
    this.orphans.delete(parent.id);
    for (let span = parent; span; span = span.parent) waiting.delete(span);
    const moved = [...waiting].filter((span) => {
      const fits = parent.depth + 1 + span.height <= MAX_DEPTH;
      return fits && span.parent === null && this.spans.get(span.id) === span;
    });
    const isMoved = new Set(moved);
    for (const attempt of new Set(moved.map((span) => span.attempt))) {
      this.roots.set(attempt, this.roots.get(attempt).filter((span) => !isMoved.has(span)));
    }
    for (const span of moved) this.attach(span, parent);
  }

  finish(entry, runId, kind, known) {
    const { event, type, data, time } = entry;
    const span = known ?? (runId ? null : this.takeAnonymous(kind, data, entry.attempt)) ?? this.createEnded(entry, runId, kind);
    if (span.end !== null && !span.endIsInferred) return span; // an end that is repeated
    if (span.startIsInferred) span.start = Math.min(span.start, time - read.secondsOf(data) * 1000);
    Object.assign(span, { end: Math.max(time, span.start), endIsInferred: false });
    span.output = read.outputOf(kind, data) ?? span.output;
    span.usage = read.usageOf(data.usage);
    span.status = span.outcome = read.endStatus(type, data);
    if (FAILURES.has(span.outcome)) {
      span.causeIds = read.causeIds(data, span.id);
      this.setError(span, entry);
      this.fail(span);
    }
    this.close(span);
    return span;
  }

  setError(span, { event, data }) {
    const error = read.errorOf(data);
    const cause = error.message ? null : this.spans.get(span.causeIds[0])?.error;
    Object.assign(span, { error: cause ?? error, errorEventId: event.id });
  }

  fail(span) {
    if (this.failed.has(span)) return;
    this.failed.add(span);
    span.parent?.failedChildren.push(span);
    this.isChanged = true;
  }

  /** The latest open span without `run_id` that an end event may belong to. */
  takeAnonymous(kind, data, attempt) {
    const name = read.spanName(kind, data);
    const fits = (span) => span.kind === kind && span.attempt === attempt && span.end === null;
    const latest = this.anonymous.slice(-MAX_SEARCHED_SPANS).filter(fits);
    const span = latest.findLast((each) => each.baseName === name) ?? (name === kind ? latest.at(-1) : undefined);
    if (span) this.anonymous.splice(this.anonymous.lastIndexOf(span), 1);
    return span ?? null;
  }

  createEnded(entry, runId, kind) {
    const time = entry.time - read.secondsOf(entry.data) * 1000;
    return this.create({ ...entry, time }, runId, kind, { startIsInferred: true });
  }

  /** Ends the spans within a span that has ended. */
  close(span) {
    this.open.delete(span);
    this.openTasks.delete(span);
    if (span.failedChildren.length) this.isChanged = true;
    const within = [...span.children];
    while (within.length) {
      const child = within.pop();
      if (child.end !== null) continue;
      this.inferEnd(child, span.end, span);
      for (const each of child.children) within.push(each);
    }
  }

  /** Ends a span that has no end event, with the span around it. */
  inferEnd(span, end, around) {
    Object.assign(span, { end: Math.max(end, span.start), endIsInferred: true });
    this.open.delete(span);
    this.openTasks.delete(span);
    span.outcome = span.isStep ? "done" : "stopped";
    if (span.isStep) {
      // A phase within a task ends with the outcome of the task; an event step does not.
      if (around && (span.kind === "phase" || !span.parent)) span.outcome = around.outcome;
      if (FAILURES.has(span.outcome)) {
        span.error ??= around.error;
        span.errorEventId ??= around.errorEventId;
      } else if (span.error) span.outcome = "error";
      if (FAILURES.has(span.outcome)) this.fail(span);
    }
    span.status = span.outcome;
  }

  /**
   * Ends the open spans of the attempts up to this one.
   * @param {{outcome: string, error?: Object|null, errorEventId?: string|null}} [around]
   */
  closeAttempts(attempt, time, around) {
    for (const span of [...this.open]) if (span.attempt <= attempt) this.inferEnd(span, time, around);
    this.anonymous = [];
    this.isChanged = true;
  }

  // Steps

  task(attempt) {
    let latest = null;
    for (const span of this.openTasks) if (span.attempt === attempt) latest = span;
    return latest;
  }

  /** The current phase or task; null if there is none. */
  container(attempt) {
    const task = this.task(attempt);
    const step = this.latest.get(task ?? attempt);
    return step?.kind === "phase" && step.end === null ? step : task;
  }

  beginStep(entry, kind, name) {
    const parent = this.task(entry.attempt);
    const before = this.latest.get(parent ?? entry.attempt);
    if (before?.end === null) {
      this.inferEnd(before, entry.time, null);
      before.endIsInferred = false;
    }
    const span = this.create(entry, "", kind, { parent, name });
    this.latest.set(parent ?? entry.attempt, span);
    return span;
  }

  /** The step of an event that belongs to no span, or null. */
  stepOf(entry) {
    const { type, data, attempt } = entry;
    const container = this.container(attempt);
    if (container?.kind === "phase") return container;
    const message = type === "task_progress" ? read.asLine(data.message) : "";
    if (this.detailed.has(attempt) || (LIFECYCLE.test(type) && !message)) return null;
    // "Row 3 of 9" and "Row 4 of 9" are one step.
    const key = `${type}:${message.replace(/\d+/g, "")}`;
    const latest = this.latest.get(container ?? attempt);
    if (latest?.key === key && latest.end === null) {
      if (message && message !== latest.baseName) latest.input = message;
      return latest;
    }
    const span = this.beginStep(entry, "event", message || type || "event");
    span.key = key;
    if (type === "input_requested") span.status = "interrupted";
    if (!message) span.input = data.prompt ?? data.message ?? data.text ?? data.error ?? read.inputOf("span", data);
    return span;
  }

  /** The attempt has phases or spans of its own: its other events are no steps. */
  dropRows(attempt) {
    if (this.detailed.has(attempt)) return;
    this.detailed.add(attempt);
    const rows = [...this.spans.values()].filter((span) => span.kind === "event" && span.attempt === attempt);
    for (const row of rows) for (const event of row.events) this.byEvent.delete(event.id);
    if (rows.length) this.remove(new Set(rows));
  }

  /** Removes events that have left the window, and the spans that ended with them. */
  trim(events) {
    for (const event of events) this.byEvent.delete(event?.id);
    this.trimmed += events.length;
    this.anonymous = this.anonymous.slice(-MAX_SEARCHED_SPANS);
    const gone = new Set();
    const old = [...this.spans.values()].filter((span) => span.lastSequence <= this.trimmed);
    old.sort((a, b) => b.depth - a.depth || b.lastSequence - a.lastSequence);
    let surplus = old.filter((span) => span.end === null).length - MAX_OLD_OPEN;
    for (const span of old) {
      if ((span.end === null && surplus <= 0) || !span.children.every((child) => gone.has(child))) continue;
      if (span.end === null) surplus -= 1;
      gone.add(span);
    }
    this.remove(gone);
    return gone;
  }

  remove(gone) {
    const kept = (span) => !gone.has(span);
    const owners = new Set();
    for (const span of gone) {
      this.spans.delete(span.id);
      for (const each of [this.open, this.openTasks, this.failed, this.names, this.latest]) each.delete(span);
      owners.add(span.parent ?? span.attempt);
    }
    for (const owner of owners) {
      if (gone.has(this.latest.get(owner))) this.latest.delete(owner);
      if (this.names.get(owner)?.size > MAX_COUNTED_NAMES) this.names.delete(owner);
      if (typeof owner === "number") this.roots.set(owner, this.roots.get(owner).filter(kept));
      else Object.assign(owner, { children: owner.children.filter(kept), failedChildren: owner.failedChildren.filter(kept) });
    }
    for (const [id, waiting] of this.orphans) {
      const left = waiting.filter(kept);
      if (left.length) this.orphans.set(id, left);
      else this.orphans.delete(id);
    }
  }
}

function getOrAdd(map, key, make) {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function increment(counts, key) {
  const number = (counts.get(key) ?? 0) + 1;
  counts.set(key, number);
  return number;
}
