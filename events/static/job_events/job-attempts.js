/** The attempts of a job: what its events report, completed by the API. */
import { asPercent, asText, asTime } from "./untrusted.js";

export const TERMINAL = new Set(["completed", "failed", "cancelled"]);
export const STATUSES = new Set(["pending", "running", ...TERMINAL]);
const MAX_NUMBER = 10_000;

/** @param {unknown} value @returns {number|null} The number of an attempt. */
export function asAttempt(value) {
  return Number.isInteger(value) && value > 0 && value <= MAX_NUMBER ? value : null;
}

const earliest = (...times) => times.reduce((a, b) => (a === null || (b !== null && b < a) ? b : a), null);

function secondsBetween(start, end) {
  return start === null || end === null ? null : Math.max(0, end - start) / 1000;
}

export class Attempt {
  constructor(number) {
    this.number = number;
    /** The attempt as the API returns it. */
    this.row = {};
    /** What the events report; `began`: the start of the attempt is among them. */
    this.reported = null;
    this.began = this.isEnded = false;
    this.createdAt = this.startedAt = this.endedAt = this.firstAt = this.workAt = this.percent = null;
    this.phaseName = "";
    this.message = "";
    /** The event that failed the attempt, and the span that raised its error. */
    this.failure = this.origin = null;
  }

  /** A terminal status is final: the API and the events may lag behind each other. */
  get status() {
    const known = [this.reported, STATUSES.has(this.row.status) ? this.row.status : null];
    // A log of which the start was trimmed may have no event with the status.
    const isTrimmed = this.firstAt !== null && !this.began && known.every((status) => status === null);
    const isRunning = known.includes("running") || isTrimmed;
    return known.find((status) => TERMINAL.has(status)) ?? (isRunning ? "running" : "pending");
  }

  get isOver() {
    return TERMINAL.has(this.status);
  }

  get start() {
    return earliest(this.startedAt, asTime(this.row.started_at)) ?? this.firstAt;
  }

  get end() {
    return this.isOver ? (this.endedAt ?? asTime(this.row.finished_at)) : null;
  }

  get created() {
    return this.createdAt ?? asTime(this.row.created_at);
  }

  get error() {
    return this.failure?.message || asText(this.row.error);
  }

  get phase() {
    return this.phaseName || asText(this.row.phase);
  }

  /** Percent, also of a failed attempt; null if none was reported. */
  get progress() {
    return this.percent ?? (asPercent(this.row.progress) || null);
  }

  get queueSeconds() {
    return secondsBetween(this.created, this.startedAt ?? asTime(this.row.started_at));
  }

  get firstEventSeconds() {
    const first = this.began ? this.workAt : asTime(this.row.first_event_at);
    return secondsBetween(this.start, first);
  }
}
