/** Types of job-log.js. */
import type { JobEvent, Problem, Reset, Status, WatchJobOptions } from "./job-events.js";

/** "loading": the history is read. "refused": the server refused; see `detail` of `onStatus`. */
export type LogStatus = Status | "loading" | "refused";

export interface OpenLogOptions
  extends Pick<WatchJobOptions, "baseUrl" | "socketUrl" | "ticket" | "transports"> {
  /** The next events of the log, in order; one call per batch. They are already in `log.events`. */
  onEvents?: (events: JobEvent[]) => void;
  /** The oldest events, which have left the window. */
  onTrim?: (events: JobEvent[]) => void;
  /** The log differs from what was delivered. Discard everything; the log is read again. */
  onReset?: (info: Reset) => void;
  /** Caught up. Called again after each reconnect. */
  onLive?: () => void;
  /** The job is finished and all events were delivered. */
  onEnd?: () => void;
  onStatus?: (status: LogStatus, detail?: Problem) => void;
  /** Number of events of the history that were read so far. */
  onProgress?: (count: number) => void;
}

export interface JobLog {
  /** The latest events without gaps, the oldest first: at most CAPACITY, and those of `loadEarlier`. */
  readonly events: JobEvent[];
  /** The log has events before the first of `events`. */
  readonly hasEarlier: boolean;
  readonly status: LogStatus;
  /** The job is finished and all events were delivered. */
  readonly ended: boolean;
  /** Milliseconds by which the server's clock is ahead of the browser's, if they differ by seconds. */
  readonly clockOffset: number;
  /**
   * Reads up to `most` (5,000) events before the first one into the window, and returns them. Build a new
   * model from `events` then. Empty if there are none, if they cannot be read (with `ticket`), or if the
   * window has changed meanwhile.
   */
  loadEarlier(most?: number): Promise<JobEvent[]>;
  close(): void;
}

/** Number of events that a log holds; then the oldest 5,000 are dropped. */
export const CAPACITY: number;

/**
 * Reads the history of a job over HTTP, the newest CAPACITY events, and follows it. Throws a TypeError for
 * invalid arguments.
 */
export function openLog(jobId: string, options?: OpenLogOptions): JobLog;
