/** Types of job-model.js and job-spans.js. */
import type { Job, JobEvent } from "./job-events.js";

export type SpanKind = "task" | "span" | "graph" | "node" | "model" | "tool" | "retriever" | "phase" | "event";

/**
 * "failed": raised an error. "handled": raised or returned an error, and the span around it went on.
 * "error": returned an error, while the span around it runs. "retry": a task that is tried again.
 * "stopped": has no end event, and the span around it ended.
 */
export type SpanStatus =
  | "running" | "done" | "error" | "failed" | "handled" | "interrupted" | "cancelled" | "retry" | "stopped";

export interface SpanError {
  message: string;
  type: string;
  traceback: string;
}

export interface Span {
  readonly id: string;
  readonly parent: Span | null;
  readonly children: Span[];
  /** 0 for the outermost; at most 100, deeper spans are shown as siblings. */
  readonly depth: number;
  readonly kind: SpanKind;
  /** With an index if siblings have the same name: "analyst[5]". `baseName` is without it. */
  readonly name: string;
  readonly baseName: string;
  /** The input in one short line. */
  readonly detail: string;
  readonly attempt: number;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number | null;
  /** The start event is not in the window: the start is the end minus the seconds that it reports. */
  readonly startIsInferred: boolean;
  /** There is no end event: the span ended with the one around it. */
  readonly endIsInferred: boolean;
  readonly status: SpanStatus;
  /** Part of the path from the task to the span whose error ended the attempt. */
  readonly isFatal: boolean;
  readonly error: SpanError | null;
  readonly errorEventId: string | null;
  readonly input: unknown;
  readonly output: unknown;
  readonly usage: Record<string, unknown> | null;
  /** Assembled pieces of text of a model: the answer, or its reasoning if there is no answer. At most 200,000 characters. */
  readonly text: string;
  readonly textIsCut: boolean;
  /** All pieces in order. `kind` is "" for the answer, "reasoning", "refusal". */
  readonly pieces: { kind: string; text: string }[];
  /** The first 50 events and the latest. */
  readonly events: JobEvent[];
  /** Number of its events. */
  readonly count: number;
  readonly node: string | null;
  readonly step: number | null;
  /** Number among the branches that run in parallel in one step of a graph; null for a single one. */
  readonly branch: number | null;
  /** "phase" or "event": a step that was derived from events without `run_id`. */
  readonly isStep: boolean;
}

export interface Attempt {
  readonly number: number;
  readonly status: Job["status"];
  readonly isOver: boolean;
  /** Milliseconds since 1970. */
  readonly created: number | null;
  readonly start: number | null;
  readonly end: number | null;
  readonly error: string;
  readonly phase: string;
  /** Percent; kept when the attempt fails. */
  readonly progress: number | null;
  readonly message: string;
  readonly queueSeconds: number | null;
  readonly firstEventSeconds: number | null;
}

/** The error that ended an attempt. */
export interface Fatal extends SpanError {
  /** The event that reports it where it was raised; null if it is not in the log. */
  eventId: string | null;
  /** The span that raised it; null if there is none. */
  spanId: string | null;
  phase: string;
  progress: number | null;
  attempt: number;
}

export interface Question {
  name: string;
  prompt: unknown;
  /** Allowed answers; empty if any is allowed. */
  choices: string[];
  attempt: number;
  eventId: string;
}

/** A job of `GET /api/jobs/{job_id}/`, or as much of it as is known. */
export type PartialJob = Partial<Job> & { attempts?: unknown[]; worker?: string | null; result?: unknown };

export class JobModel {
  constructor(job?: PartialJob | null);
  /** Sets what the API reports, which may be newer than the events. */
  setJob(job: PartialJob | null): void;
  /** Adds the next event of the log. Never throws. */
  add(event: JobEvent): void;
  /** Forgets events that have left the window, and the spans that ended with them. */
  trim(events: JobEvent[]): void;

  readonly job: PartialJob | null;
  /** Number of events that were added. */
  readonly count: number;
  /** The number of the current attempt; the following facts are those of it. */
  readonly attempt: number;
  readonly status: Job["status"];
  readonly phase: string;
  readonly progress: number | null;
  readonly message: string;
  readonly start: number | null;
  readonly end: number | null;
  readonly queueSeconds: number | null;
  readonly firstEventSeconds: number | null;
  readonly fatal: Fatal | null;
  /** Of the current attempt; undefined if there is none. */
  readonly result: unknown;

  /** Of all attempts, the oldest first. */
  readonly attempts: Attempt[];
  readonly modelCalls: number;
  readonly toolCalls: number;
  readonly toolErrors: number;
  /** Null if no model reported its tokens. */
  readonly tokens: { input: number; output: number } | null;
  readonly usage: Record<string, { calls: number; input_tokens: number; output_tokens: number }>;
  readonly worker: string | null;
  readonly handledErrors: number;
  /** Deliveries of tasks of the current attempt after which the queue delivered the task again. */
  readonly retries: number;
  /** Unanswered questions by name. */
  readonly questions: Map<string, Question>;
  /** Number of events in the window by type, and of those that report an error of any severity. */
  readonly types: Map<string, number>;
  readonly errorCount: number;

  readonly spans: Map<string, Span>;
  /** The outermost spans of an attempt, by default of the current one. */
  roots(attempt?: number): Span[];
  fatalOf(attempt: number): Fatal | null;
  spanOf(eventId: string): Span | null;
}
