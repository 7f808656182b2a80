/** A span of a job. The type is in job-model.d.ts. */
import { asLine } from "./span-events.js";

/** Events that a span keeps: the first ones, and the latest. */
const KEPT_EVENTS = 50;
const TEXT_CHARS = 200_000;
/** Fields of an event in its line. */
const SHOWN_FIELDS = 8;
/** Key of the counts of branches among the counts of names. */
export const BRANCHES = Symbol("branches");

export class Span {
  constructor(id, kind, name, attempt, start) {
    Object.assign(this, { id, kind, baseName: name, attempt, start });
    this.parent = this.end = null;
    this.children = [];
    this.startIsInferred = this.endIsInferred = this.isFatal = this.textIsCut = false;
    /** `outcome` is what the end event reports; `status` also distinguishes handled errors. */
    this.status = this.outcome = "running";
    this.error = this.errorEventId = this.input = this.output = this.usage = this.node = this.step = null;
    this.causeIds = [];
    this.failedChildren = [];
    this.pieces = [];
    this.events = [];
    this.count = this.lastSequence = this.number = this.branchNumber = this.chars = this.depth = this.height = 0;
    this.siblings = null;
  }

  get isStep() {
    return this.kind === "phase" || this.kind === "event";
  }

  /** With an index if siblings have the same name. */
  get name() {
    return this.siblings?.get(this.baseName) > 1 ? `${this.baseName}[${this.number}]` : this.baseName;
  }

  /** Number among the branches that run in the same step of a graph; null for a single one. */
  get branch() {
    return this.step !== null && this.siblings?.get(BRANCHES)?.get(this.step) > 1 ? this.branchNumber : null;
  }

  /** The input in one line; of an event its fields. */
  get detail() {
    const isFields = this.kind === "event" && this.input !== null && typeof this.input === "object" && !Array.isArray(this.input);
    if (!isFields) return asLine(this.input);
    return Object.entries(this.input).slice(0, SHOWN_FIELDS).map(([name, value]) => `${name}: ${asLine(value)}`).join(" · ");
  }

  /** The answer of a model, or its reasoning if there is no answer. */
  get text() {
    const answers = this.pieces.filter(({ kind }) => kind === "");
    return (answers.length ? answers : this.pieces).map(({ text }) => text).join("");
  }

  keep(event) {
    this.count += 1;
    if (this.events.length <= KEPT_EVENTS) this.events.push(event);
    else this.events[KEPT_EVENTS] = event;
  }

  addText(kind, text) {
    if (this.pieces.at(-1)?.kind !== kind) this.pieces.push({ kind, text: "" });
    const room = Math.max(TEXT_CHARS - this.chars, 0);
    this.pieces.at(-1).text += text.slice(0, room);
    this.chars += text.length;
    this.textIsCut ||= text.length > room;
  }
}
