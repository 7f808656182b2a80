/**
 * Follows the events of one job in the browser: each event once, in order, from a cursor.
 *
 *     import { watchJob } from "./job-events.js";
 *     const watch = watchJob("job_001", { onEvent: console.log });
 *
 * Uses WebSocket, falls back to SSE, and to polling if the server cannot stream. Each transport continues
 * from the cursor of the previous one. The types are in job-events.d.ts.
 */
import { eventSource, isFinal, isObject, openSocket, polling, webSocket } from "./job-transports.js";
import { refusal, retryDelay } from "./retry.js";

export { eventSource, polling, webSocket };

/** A timer that fires this late means that the page was frozen or the machine asleep. */
const TICK_MS = 5_000;
const ASLEEP_MS = 20_000;
/** Upper bound for the reconnect delay that a restarting server requests. */
const MAX_RECONNECT_DELAY_MS = 60_000;
const CURSOR = /^(\d{1,20})(?:-(\d{1,20}))?$/;
const JOB_ID = /^[A-Za-z0-9_-]{1,64}$/;
const nothing = () => {};

const isFunction = (value) => typeof value === "function";
const isFolder = (value) => typeof value === "string" && value.endsWith("/");
const FUNCTION = [isFunction, "a function"];
const FOLDER = [isFolder, 'a URL that ends in "/"'];
/** By option: its condition, and the description of allowed values. */
const OPTIONS = {
  onEvent: FUNCTION,
  onEvents: FUNCTION,
  onTrim: FUNCTION,
  onProgress: FUNCTION,
  onJob: FUNCTION,
  onLive: FUNCTION,
  onEnd: FUNCTION,
  onReset: FUNCTION,
  onStatus: FUNCTION,
  ticket: FUNCTION,
  baseUrl: FOLDER,
  socketUrl: FOLDER,
  after: [(value) => CURSOR.test(value), 'a cursor such as "1795315967958-0", or "0"'],
  transports: [
    (value) => Array.isArray(value) && value.length > 0 && value.every(isFunction),
    "an array of transports",
  ],
};
const CONNECTION = ["onLive", "onEnd", "onReset", "onStatus", "ticket", "baseUrl", "socketUrl", "transports"];
const JOB_OPTIONS = ["onEvent", ...CONNECTION, "after"];
const LOG_OPTIONS = ["onEvents", "onTrim", "onProgress", ...CONNECTION];
const JOBS_OPTIONS = ["onJob", "onLive", "onStatus", "socketUrl"];

const shown = (value) => (isFunction(value) ? "a function" : (JSON.stringify(value) ?? String(value)));

/** Throws a TypeError for an option that is unknown or has an invalid value. */
function validate(caller, options, names) {
  if (!isObject(options)) throw new TypeError(`${caller}: the options must be an object.`);
  for (const [name, value] of Object.entries(options)) {
    if (!names.includes(name)) {
      throw new TypeError(`${caller}: unknown option ${name}. The options are ${names.join(", ")}.`);
    }
    const [holds, allowed] = OPTIONS[name];
    if (value !== undefined && value !== null && !holds(value)) {
      throw new TypeError(`${caller}: ${name} must be ${allowed}. Given: ${shown(value)}.`);
    }
  }
}

/** Compares two cursors numerically, without losing digits. Returns a number below 0, 0 or above 0. */
export function compareCursors(a, b) {
  const [left, right] = [a, b].map((cursor) => CURSOR.exec(cursor));
  if (!left || !right) return NaN;
  return compareDigits(left[1], right[1]) || compareDigits(left[2] ?? "0", right[2] ?? "0");
}

function compareDigits(a, b) {
  const [left, right] = [a, b].map((digits) => digits.replace(/^0+(?=\d)/, ""));
  if (left.length !== right.length) return left.length - right.length;
  return left < right ? -1 : Number(left > right);
}

/** Throws a TypeError for an invalid job_id or invalid options of `openLog`. */
export function validateLog(jobId, options) {
  validateJob("openLog", jobId, options, LOG_OPTIONS);
}

function validateJob(caller, jobId, options, names) {
  if (typeof jobId !== "string" || !JOB_ID.test(jobId)) {
    throw new TypeError(`${caller}: a job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -. Given: ${shown(jobId)}.`);
  }
  validate(caller, options, names);
}

/** Follows a job from a cursor. See job-events.d.ts. */
export function watchJob(jobId, options = {}) {
  validateJob("watchJob", jobId, options, JOB_OPTIONS);
  const watch = new JobWatch(jobId, options);
  watch.open();
  return {
    close: () => watch.close(),
    get cursor() {
      return watch.cursor;
    },
  };
}

/** Reports the jobs visible to the user as they are created and change. See job-events.d.ts. */
export function watchJobs(options = {}) {
  validate("watchJobs", options, JOBS_OPTIONS);
  const watch = new JobsWatch(options);
  watch.open();
  return { close: () => watch.close() };
}

/** Base class: connects, and reconnects after each failure. */
class Watch {
  constructor({ ticket = null, ...handlers }, names) {
    this.ticket = ticket;
    this.failures = 0;
    this.stop = nothing;
    this.run = null;
    this.timer = 0;
    this.on = Object.fromEntries(names.map((name) => [name, handlers[name] ?? nothing]));
    this.listeners = new AbortController();
  }

  open() {
    const { signal } = this.listeners;
    const connect = () => this.connect();
    addEventListener("online", connect, { signal });
    // A page in the back/forward cache holds no connection; it resumes from its cursor when shown.
    addEventListener("pagehide", () => this.halt(), { signal });
    addEventListener("pageshow", (event) => event.persisted && connect(), { signal });
    document.addEventListener("resume", connect, { signal });
    this.watchSleep(signal);
    this.connect();
  }

  /** Reconnects after sleep: the connection may be dead without an error. */
  watchSleep(signal) {
    let before = Date.now();
    const ticking = setInterval(() => {
      const slept = Date.now() - before > ASLEEP_MS;
      before = Date.now();
      if (slept && this.run) this.connect();
    }, TICK_MS);
    signal.addEventListener("abort", () => clearInterval(ticking));
  }

  close() {
    this.listeners.abort();
    this.halt();
  }

  halt() {
    clearTimeout(this.timer);
    this.run = null;
    this.stop();
    this.stop = nothing;
  }

  async connect() {
    this.halt();
    if (this.failures === 0) this.on.onStatus("connecting");
    const run = {};
    this.run = run;
    let query;
    try {
      query = await this.credentials();
    } catch (error) {
      if (this.run === run) this.lost(undefined, `No ticket: ${error?.message ?? error}`);
      return;
    }
    if (this.run !== run) return;
    const stop = this.start(run, query);
    if (this.run === run) this.stop = stop;
    else stop();
  }

  /** Additional query parameters: a new ticket, if the page has a ticket source. */
  async credentials() {
    if (!this.ticket) return "";
    const ticket = await this.ticket();
    if (typeof ticket !== "string" || !ticket) throw new TypeError(`ticket() returned ${shown(ticket)}, not a ticket.`);
    return `&ticket=${encodeURIComponent(ticket)}`;
  }

  /** Wraps callbacks so that they are ignored once `run` is stopped. */
  whileCurrent(run) {
    return (report) => (value) => this.run === run && report(value);
  }

  finish(detail) {
    this.close();
    this.on.onStatus("ended", detail);
  }

  /** Reports that the server refused, and why as far as its status says. */
  refuse(status) {
    this.finish(refusal(status));
  }

  /**
   * @param {number} [after]  Delay in milliseconds, if the server requested one.
   * @param {string} [message]  The cause, if it is known.
   */
  lost(after, message) {
    this.halt();
    this.failures += 1;
    this.on.onStatus("reconnecting", message && { message });
    const requested = Number.isFinite(after) ? Math.min(Math.max(after, 0), MAX_RECONNECT_DELAY_MS) : null;
    this.timer = setTimeout(() => this.connect(), requested ?? retryDelay(this.failures));
  }
}

class JobWatch extends Watch {
  constructor(jobId, options) {
    super(options, ["onEvent", "onLive", "onEnd", "onReset", "onStatus"]);
    const baseUrl = options.baseUrl ?? "/api/jobs/";
    // Sockets are on the server of the API.
    const socketUrl = options.socketUrl ?? new URL("/ws/jobs/", new URL(baseUrl, location.href)).href;
    this.addresses = { root: `${baseUrl}${jobId}/events/`, socket: `${socketUrl}${jobId}/` };
    this.cursor = options.after ?? "0";
    this.transports = options.transports ?? [webSocket, eventSource, polling];
    this.transportIndex = 0;
    this.proven = new Set();
  }

  start(run, query) {
    return this.transports[this.transportIndex](this.link(run, query));
  }

  /** The link that one run of a transport reports to. */
  link(run, query) {
    const transport = this.transports[this.transportIndex];
    const current = this.whileCurrent(run);
    return {
      ...this.addresses,
      query,
      cursor: () => this.cursor,
      proven: () => this.proven.has(transport),
      failures: () => this.failures,
      deliver: current((event) => this.deliver(event)),
      live: current((status) => this.live(transport, status)),
      end: current(() => this.end()),
      reset: current((info) => this.reset(info)),
      lost: current((after) => this.lost(after)),
      unavailable: current(() => this.unavailable()),
      refused: current((status) => this.refuse(status)),
    };
  }

  deliver(event) {
    const order = compareCursors(event.id, this.cursor);
    if (order <= 0) return;
    if (order > 0) this.cursor = event.id;
    this.failures = 0;
    this.on.onEvent(event);
  }

  live(transport, status) {
    this.failures = 0;
    this.proven.add(transport);
    this.on.onStatus(status);
    this.on.onLive();
  }

  end() {
    this.finish();
    this.on.onEnd();
  }

  reset(info) {
    this.cursor = "0"; // read the whole log again
    this.on.onReset(info);
    this.lost();
  }

  unavailable() {
    if (this.transportIndex === this.transports.length - 1) return this.lost();
    this.transportIndex += 1;
    this.failures = 0;
    this.connect();
  }
}

class JobsWatch extends Watch {
  constructor(options) {
    super(options, ["onJob", "onLive", "onStatus"]);
    this.url = options.socketUrl ?? "/ws/events/";
  }

  start(run) {
    if (!("WebSocket" in globalThis)) {
      this.refuse(501);
      return nothing;
    }
    const current = this.whileCurrent(run);
    const lost = current((after) => this.lost(after));
    const socket = openSocket(this.url, {
      opened: () => socket.send('{"action":"subscribe_jobs"}'),
      message: current((message) => this.take(message, lost)),
      closed: current(({ code }) => this.closed(code)),
    });
    return () => socket.close();
  }

  take(message, lost) {
    if (message.type === "restart") return lost(message.retry);
    if (message.type === "jobs_live") {
      this.failures = 0;
      this.on.onStatus("live");
      this.on.onLive();
    }
    if (message.type === "job" && isObject(message.job)) this.on.onJob(message.job);
  }

  closed(code) {
    if (isFinal(code)) this.refuse(code);
    else this.lost();
  }
}
