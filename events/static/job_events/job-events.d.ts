/** Types of job-events.js. */

/** An event, the same everywhere; `data` is the event dict as it was published. */
export interface JobEvent {
  /** The event's id, `<ms>-<seq>`: the cursor after it. */
  id: string;
  job_id: string;
  event_type: string;
  /** ISO 8601. */
  timestamp: string;
  data: Record<string, unknown>;
}

/** A job as the list of the API has it. */
export interface Job {
  job_id: string;
  task_type: string;
  title: string;
  status: "pending" | "running" | "completed" | "failed" | "cancelled";
  attempt: number;
  /** In per cent. */
  progress: number;
  owner: string | null;
  error: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
}

/** Of the connection: "polling" is live, but some seconds late. */
export type Status = "connecting" | "live" | "reconnecting" | "polling" | "ended";

/** Why the server will not answer: a status of HTTP, or a close code from 4500 on. */
export interface Refusal {
  refused: number;
}

/** The log is not what was delivered: forget what was shown, the log is read anew. */
export interface Reset {
  reason?: string;
  after?: string;
}

interface Credentials {
  /** Asked before each connection for what POST /api/jobs/{job_id}/ticket/ answers; for other origins. */
  ticket?: () => string | Promise<string>;
  onStatus?: (status: Status, detail?: Refusal) => void;
}

export interface WatchJobOptions extends Credentials {
  /** URL of the API's list of jobs, ending in "/"; "/api/jobs/" by default. */
  baseUrl?: string;
  /** URL of the sockets of jobs, ending in "/"; "/ws/jobs/" by default. */
  socketUrl?: string;
  /** Cursor: the events after it are delivered; "0", the default, for all. */
  after?: string;
  /** By default [webSocket, eventSource, polling]. */
  transports?: Transport[];
  /** Each event once, in order. */
  onEvent?: (event: JobEvent) => void;
  /** Everything up to now was delivered; called again after each reconnect. */
  onLive?: () => void;
  /** The job is over and everything was delivered; nothing more is called. */
  onEnd?: () => void;
  onReset?: (info: Reset) => void;
}

export interface WatchJobsOptions {
  /** URL of the socket of several jobs; "/ws/events/" by default. */
  socketUrl?: string;
  /** A job is new or has changed. */
  onJob?: (job: Job) => void;
  /** From now on nothing is missed: read the list now. Called again after each reconnect. */
  onLive?: () => void;
  onStatus?: (status: Status, detail?: Refusal) => void;
}

/** Watches a job from a cursor on. */
export function watchJob(jobId: string, options?: WatchJobOptions): { close(): void; readonly cursor: string };

/** Tells of the jobs that the reader may see, as they are created and change. */
export function watchJobs(options?: WatchJobsOptions): { close(): void };

/** Compares two cursors as numbers, without losing digits: below 0, 0 or above 0; NaN if one is none. */
export function compareCursors(a: string, b: string): number;

/** What a transport reads from and reports to. */
export interface Link {
  /** URL of the job's events, ending in "/". */
  readonly root: string;
  /** URL of the job's socket, ending in "/". */
  readonly socket: string;
  /** To be appended to the query of each address: "", or "&ticket=…". */
  readonly query: string;
  /** The id after which to read. */
  cursor(): string;
  /** Whether this transport has worked before. */
  proven(): boolean;
  /** How often in a row it has failed. */
  failures(): number;
  deliver(event: JobEvent): void;
  /** Everything up to now was delivered. */
  live(status: "live" | "polling"): void;
  /** The job is over and everything was delivered. */
  end(): void;
  /** The cursor cannot be honoured. */
  reset(info: Reset): void;
  /** The connection broke: come back later, after so many milliseconds if the server has said so. */
  lost(after?: number): void;
  /** This transport does not work here: take the next one. */
  unavailable(): void;
  /** The server will not answer: give up. */
  refused(status: number): void;
}

/** Starts to read, and returns what stops it. */
export type Transport = (link: Link) => () => void;

export const webSocket: Transport;
export const eventSource: Transport;
export const polling: Transport;
