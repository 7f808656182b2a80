/**
 * What the list of events shows of each event, and which events match its filters. Without DOM.
 *
 * @typedef {{key: string, event: Object, type: string, level: string, isError: boolean, attempt: number|null}} Entry
 */
import { isErrorEvent } from "../job_events/span-events.js";
import { asObject, asText, eventData } from "../job_events/untrusted.js";

/** In ascending order. */
export const LEVELS = ["debug", "info", "warning", "error", "critical"];
const ALIASES = {
  trace: "debug", notset: "debug", notice: "info", warn: "warning", err: "error", exception: "error", fatal: "critical",
  alert: "critical", emergency: "critical",
};
const GIST_CHARS = 300;
const GIST_KEYS = 8;
const SHOWN_ELSEWHERE = new Set([
  "event_type", "timestamp", "job_id", "task_type", "run_id", "parent_run_id", "level", "levelname", "message", "text",
  "job_status", "attempt",
]);

/** @param {unknown} value  A name, or a number of Python's logging. @returns {string} One of LEVELS, or "". */
function levelOf(value) {
  if (typeof value === "number") return value > 0 ? LEVELS[Math.min(4, Math.max(0, Math.floor(value / 10) - 1))] : "";
  const name = typeof value === "string" ? value.trim().toLowerCase() : "";
  return LEVELS.includes(name) ? name : (ALIASES[name] ?? "");
}

/** Makes entries of events in the order of the log, and counts them. */
export class Entries {
  constructor() {
    this.clear();
  }

  clear() {
    /** @type {Entry[]} */
    this.all = [];
    /** @type {Map<string, number>} */
    this.types = new Map();
    this.errors = 0;
    this.levels = 0;
    this.attempt = null;
  }

  /** @returns {Entry[]} */
  add(events) {
    const entries = events.map((event) => this.entryOf(event));
    for (const entry of entries) {
      this.all.push(entry);
      this.count(entry, 1);
    }
    return entries;
  }

  /** Removes what precedes the event with the id `first`. */
  trim(first) {
    if (!this.all.length || this.all[0].key === first) return false;
    const index = this.all.findIndex((entry) => entry.key === first);
    if (index <= 0) return false;
    for (const entry of this.all.splice(0, index)) this.count(entry, -1);
    return true;
  }

  count({ type, isError, level }, step) {
    const number = (this.types.get(type) ?? 0) + step;
    if (number) this.types.set(type, number);
    else this.types.delete(type);
    this.errors += isError ? step : 0;
    this.levels += level ? step : 0;
  }

  entryOf(event) {
    const data = eventData(event);
    const type = asText(event.event_type);
    if (Number.isInteger(data.attempt) && /^(job|task)_/.test(type)) this.attempt = data.attempt;
    const level = levelOf(data.level ?? data.levelname);
    return { key: event.id, event, type, level, isError: isErrorEvent(type, data), attempt: this.attempt };
  }
}

/** @param {Entry} entry @param {{types: Set<string>, level: string, errors: boolean}} filter */
export function matches(entry, { types, level, errors }) {
  if (types.size && !types.has(entry.type)) return false;
  if (errors && !entry.isError) return false;
  if (!level) return true;
  return LEVELS.indexOf(entry.level || (entry.isError ? "error" : "")) >= LEVELS.indexOf(level);
}

/** The message of the event and its other keys in one line. */
export function gist(event) {
  const data = eventData(event);
  const words = [data.message, data.text].filter((text) => text !== undefined).map((text) => brief(text));
  const { error, ...others } = data;
  if (/^task_/.test(event.event_type)) words.unshift(brief(data.task_type ?? ""));
  for (const [key, value] of Object.entries(error ? { error, ...others } : others)) {
    if (words.length === GIST_KEYS) break;
    if (key === "data" && value === asObject(value)) continue; // its keys are in `data`
    if (!SHOWN_ELSEWHERE.has(key) && value !== "" && value !== null) words.push(`${key.slice(0, 60)}: ${brief(value)}`);
  }
  return words.filter(Boolean).join(" · ").slice(0, GIST_CHARS);
}

function brief(value, isInner = false) {
  if (Array.isArray(value)) return `[${value.length}]`;
  if (typeof value === "object" && value !== null) return isInner ? "{…}" : briefObject(value);
  return asText(value).slice(0, GIST_CHARS).replace(/\s+/g, " ");
}

function briefObject(value) {
  const own = Object.entries(value).slice(0, 4);
  return `{${own.map(([key, inner]) => `${key.slice(0, 60)}: ${brief(inner, true).slice(0, 40)}`).join(", ")}}`;
}
