/**
 * Follows the events of one job in the browser: each event once, in order, from a cursor.
 *
 *     import { watchJob } from "./job-events.js";
 *     const watch = watchJob("job_001", { baseUrl: "/api/jobs/", onEvent: console.log });
 *
 * A transport is a function that is given a link, starts reading and returns what stops it. The
 * transports are tried in their order; each goes on from the cursor that the one before left.
 *
 * @typedef {{id: string, job_id: string, event_type: string, timestamp: string, data: Object}} JobEvent
 * @typedef {"connecting"|"live"|"reconnecting"|"polling"|"ended"} Status
 * @typedef {(link: Link) => (() => void)} Transport
 *
 * @typedef {Object} Link  What a transport reads from and reports to.
 * @property {string} root                      URL of the job's events, ending in "/".
 * @property {() => string} cursor              The id after which to read.
 * @property {() => boolean} proven             Whether this transport has worked before.
 * @property {() => number} failures            How often in a row it has failed.
 * @property {(event: JobEvent) => void} deliver
 * @property {(status: Status) => void} live    Everything up to now was delivered.
 * @property {() => void} end                   The job is over and everything was delivered.
 * @property {(info: Object) => void} reset     The cursor cannot be honoured.
 * @property {() => void} lost                  The connection broke: come back later.
 * @property {() => void} unavailable           This transport does not work here: take the next one.
 * @property {(httpStatus: number) => void} refused  The server will not answer: give up.
 */

const OVER = new Set(["completed", "failed", "cancelled"]);
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15_000;
const POLL_MS = 1_000;
const HIDDEN_POLL_MS = 5_000;
const LAST_POLL_MS = 5000;
const POLL_LIMIT = 500;
/** Of a cursor behind which the log was cut. */
const GONE = 410;
/** Answers of a server that speaks no SSE: wrong method or type, not implemented (under WSGI). */
const CANNOT_STREAM = new Set([405, 406, 501]);
/** Refusals that pass. */
const PASSING = new Set([408, 425, 429]);
const PATIENCE = 3;
const CURSOR = /^(\d{1,20})(?:-(\d{1,20}))?$/;
const nothing = () => {};

/**
 * Compares two cursors as numbers, without losing digits: below 0, 0 or above 0.
 * @param {string} a
 * @param {string} b
 * @returns {number}
 */
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

/** How long to wait before try number `failures`: doubled each time, with jitter, so that viewers spread. */
function retryDelay(failures) {
  const full = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
  return full * (0.5 + Math.random() / 2);
}

/**
 * Watches a job from a cursor on.
 * @param {string} jobId
 * @param {Object} options
 * @param {string} options.baseUrl  URL of the job list of the API, ending in "/".
 * @param {string} [options.after]  Cursor: events after it are delivered; "0" for all.
 * @param {Transport[]} [options.transports]
 * @param {(event: JobEvent) => void} [options.onEvent]
 * @param {() => void} [options.onLive]  Caught up; called again after each reconnect.
 * @param {() => void} [options.onEnd]
 * @param {(info: Object) => void} [options.onReset]  Forget what was shown: reading starts anew.
 * @param {(status: Status, detail?: {refused: number}) => void} [options.onStatus]
 * @returns {{close: () => void, readonly cursor: string}}
 */
export function watchJob(jobId, options) {
  const watch = new Watch(jobId, options);
  watch.open();
  return {
    close: () => watch.close(),
    get cursor() {
      return watch.cursor;
    },
  };
}

class Watch {
  constructor(jobId, { baseUrl, after = "0", transports = [eventSource, polling], ...handlers }) {
    this.root = `${baseUrl}${encodeURIComponent(jobId)}/events/`;
    this.cursor = after;
    this.transports = transports;
    this.rung = 0;
    this.proven = new Set();
    this.failures = 0;
    this.stop = nothing;
    this.run = null;
    this.timer = 0;
    this.on = { onEvent: nothing, onLive: nothing, onEnd: nothing, onReset: nothing, onStatus: nothing };
    for (const name of Object.keys(this.on)) if (handlers[name]) this.on[name] = handlers[name];
    this.listeners = new AbortController();
  }

  open() {
    const { signal } = this.listeners;
    addEventListener("online", () => this.connect(), { signal });
    // A page in the back/forward cache holds no connection; it goes on from its cursor when shown.
    addEventListener("pagehide", () => this.halt(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.connect(), { signal });
    this.connect();
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

  connect() {
    this.halt();
    if (this.failures === 0) this.on.onStatus("connecting");
    const run = {};
    this.run = run;
    const stop = this.transports[this.rung](this.link(run));
    if (this.run === run) this.stop = stop;
    else stop();
  }

  /** The link of one run of a transport: what a stopped run still reports is not heard. */
  link(run) {
    const transport = this.transports[this.rung];
    const heard = (report) => (value) => this.run === run && report(value);
    return {
      root: this.root,
      cursor: () => this.cursor,
      proven: () => this.proven.has(transport),
      failures: () => this.failures,
      deliver: heard((event) => this.deliver(event)),
      live: heard((status) => this.live(transport, status)),
      end: heard(() => this.end()),
      reset: heard((info) => this.reset(info)),
      lost: heard(() => this.lost()),
      unavailable: heard(() => this.unavailable()),
      refused: heard((httpStatus) => this.finish({ refused: httpStatus })),
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

  finish(detail) {
    this.close();
    this.on.onStatus("ended", detail);
  }

  reset(info) {
    this.cursor = "0"; // whoever is reset begins anew, with what the log has now
    this.on.onReset(info);
    this.lost();
  }

  lost() {
    this.halt();
    this.failures += 1;
    this.on.onStatus("reconnecting");
    this.timer = setTimeout(() => this.connect(), retryDelay(this.failures));
  }

  unavailable() {
    if (this.rung === this.transports.length - 1) return this.lost();
    this.rung += 1;
    this.failures = 0;
    this.connect();
  }
}

/**
 * Server-sent events.
 * @type {Transport}
 */
export function eventSource(link) {
  const source = new EventSource(`${link.root}stream/?after=${link.cursor()}`);
  let opened = false;
  source.onopen = () => (opened = true);
  source.onmessage = (message) => deliverText(link, message.data);
  source.addEventListener("live", () => link.live("live"));
  source.addEventListener("end", () => link.end());
  source.addEventListener("reset", (message) => link.reset(parseObject(message.data)));
  source.onerror = () => {
    // It would reconnect by itself, but at a fixed pace, and would never say why it was turned away.
    const turnedAway = source.readyState === EventSource.CLOSED && !opened;
    source.close();
    if (turnedAway) askWhy(link, source.url);
    else link.lost();
  };
  return () => source.close();
}

/** Asks once more for what was turned away, to see the answer that an EventSource does not tell. */
async function askWhy(link, url) {
  const controller = new AbortController();
  try {
    const { ok, status, headers } = await fetch(url, { signal: controller.signal });
    const streams = headers.get("Content-Type")?.startsWith("text/event-stream");
    if (CANNOT_STREAM.has(status) || (ok && !streams)) link.unavailable();
    else if (isRefusal(status)) link.refused(status);
    // A proxy that cannot stream may say 502 or 504; one whose server restarts says so too.
    else if (status !== 503 && !link.proven() && link.failures() >= PATIENCE) link.unavailable();
    else link.lost();
  } catch {
    link.lost();
  } finally {
    controller.abort();
  }
}

/** Whether asking again would not help: the job is gone, the reader logged out. */
function isRefusal(status) {
  return status >= 400 && status < 500 && !PASSING.has(status);
}

function deliverText(link, text) {
  const event = parseObject(text);
  if (typeof event.id === "string") link.deliver(event);
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/**
 * Asks for the history again and again: for servers that cannot stream.
 * @type {Transport}
 */
export function polling(link) {
  const controller = new AbortController();
  poll(link, controller.signal).catch((error) => {
    if (controller.signal.aborted) return;
    if (error.cut) link.reset(error.cut);
    else if (error.refused) link.refused(error.refused);
    else link.lost();
  });
  return () => controller.abort();
}

async function poll(link, signal) {
  let wasOver = false;
  while (!signal.aborted) {
    const page = await fetchPage(link, POLL_LIMIT, signal);
    page.results.forEach(link.deliver);
    if (page.next && page.results.length) continue;
    link.live("polling");
    // An event is appended just after the commit that it speaks of: only an empty page that was
    // asked for well after the job was over says that there is no more.
    if (wasOver && !page.results.length) return link.end();
    wasOver = OVER.has(page.job_status);
    await pause(wasOver ? LAST_POLL_MS : document.hidden ? HIDDEN_POLL_MS : POLL_MS, signal);
  }
}

/**
 * A page of the history; an error has `refused` when asking again would not help, and `cut` when
 * the log begins after the cursor.
 */
async function fetchPage(link, limit, signal) {
  const url = `${link.root}?after=${link.cursor()}&limit=${limit}`;
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  const body = parseObject(await response.text());
  if (response.ok) return { results: [], ...body };
  if (response.status === GONE) {
    throw Object.assign(new Error("The log was cut"), { cut: { ...body, reason: body.detail } });
  }
  const refused = isRefusal(response.status) ? response.status : undefined;
  throw Object.assign(new Error(`HTTP ${response.status}`), { refused });
}

/** Waits; a page that comes back into view does not wait. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}
