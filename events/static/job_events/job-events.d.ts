/** Types of job-events.js. */

/** An event; `data` is the published event dict. */
export interface JobEvent {
  /** Event id, `<ms>-<seq>`; also the cursor after this event. */
  id: string;
  job_id: string;
  event_type: string;
  /** ISO 8601. */
  timestamp: string;
  data: Record<string, unknown>;
}

/** A job, as in the list of the API. */
export interface Job {
  job_id: string;
  task_type: string;
  title: string;
  status: "pending" | "running" | "completed" | "failed" | "cancelled";
  attempt: number;
  /** Percent. */
  progress: number;
  owner: string | null;
  error: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  /** Of the archived log, with its number of events and its latest phase. */
  first_event_at: string | null;
  last_event_at: string | null;
  event_count: number;
  phase: string;
  /** Calls and tokens of all attempts, by model. */
  usage: Record<string, { calls: number; input_tokens: number; output_tokens: number }>;
  /** Path of the job's page; null if the project does not include the pages. */
  url: string | null;
}

/** State of the connection; "polling" is live with some seconds of delay. */
export type Status = "connecting" | "live" | "reconnecting" | "polling" | "ended";

/** The cause of "reconnecting", if it is known, and of "ended" if the server refused. */
export interface Problem {
  message: string;
  /** An HTTP status, or a close code from 4500. */
  refused?: number;
}

/** The log differs from what was delivered. Discard everything; the log is read again from the start. */
export interface Reset {
  reason?: string;
  after?: string;
}

interface Credentials {
  /** Called before each connection; returns a ticket of POST /api/jobs/{job_id}/ticket/. For other origins. */
  ticket?: () => string | Promise<string>;
  onStatus?: (status: Status, detail?: Problem) => void;
}

export interface WatchJobOptions extends Credentials {
  /** URL of the job list of the API, ending in "/"; "/api/jobs/" by default. */
  baseUrl?: string;
  /** URL of the job sockets, ending in "/"; "/ws/jobs/" on the server of `baseUrl` by default. */
  socketUrl?: string;
  /** Cursor: the events after it are delivered; "0", the default, for all. */
  after?: string;
  /** By default [webSocket, eventSource, polling]. */
  transports?: Transport[];
  /** Each event once, in order. */
  onEvent?: (event: JobEvent) => void;
  /** Caught up. Called again after each reconnect. */
  onLive?: () => void;
  /** The job is finished and all events were delivered. No further calls. */
  onEnd?: () => void;
  onReset?: (info: Reset) => void;
}

export interface WatchJobsOptions {
  /** URL of the multi-job socket; "/ws/events/" by default. */
  socketUrl?: string;
  /** A job is new or has changed. */
  onJob?: (job: Job) => void;
  /** Subscribed: query the list now. Called again after each reconnect. */
  onLive?: () => void;
  onStatus?: (status: Status, detail?: Problem) => void;
}

/** Follows a job from a cursor. Throws a TypeError for invalid arguments, with the reason. */
export function watchJob(jobId: string, options?: WatchJobOptions): { close(): void; readonly cursor: string };

/** Reports the jobs visible to the user as they are created and change. */
export function watchJobs(options?: WatchJobsOptions): { close(): void };

/** Compares two cursors numerically. Returns a number below 0, 0 or above 0; NaN for an invalid cursor. */
export function compareCursors(a: string, b: string): number;

/** The interface between the client and a transport. */
export interface Link {
  /** URL of the job's events, ending in "/". */
  readonly root: string;
  /** URL of the job's socket, ending in "/". */
  readonly socket: string;
  /** Appended to the query of each URL: "" or "&ticket=…". */
  readonly query: string;
  /** Read events after this cursor. */
  cursor(): string;
  /** True if this transport has worked before. */
  proven(): boolean;
  /** Number of consecutive failures. */
  failures(): number;
  deliver(event: JobEvent): void;
  /** Caught up. */
  live(status: "live" | "polling"): void;
  /** The job is finished and all events were delivered. */
  end(): void;
  /** The cursor cannot be honoured. */
  reset(info: Reset): void;
  /** Connection lost. Reconnect later; after `after` milliseconds if the server requested it. */
  lost(after?: number): void;
  /** This transport does not work here; use the next one. */
  unavailable(): void;
  /** The server refused; do not retry. */
  refused(status: number): void;
}

/** Starts reading; returns a function that stops it. */
export type Transport = (link: Link) => () => void;

export const webSocket: Transport;
export const eventSource: Transport;
export const polling: Transport;
