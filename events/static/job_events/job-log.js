/**
 * The log of a job: reads its history over HTTP, then follows it. Holds the latest events.
 *
 *     import { openLog } from "./job-log.js";
 *     const log = openLog("job_001", { onEvents: (events) => events.forEach((event) => model.add(event)) });
 *
 * The types are in job-log.d.ts.
 */
import { validateLog, watchJob } from "./job-events.js";
import { isObject, parseObject } from "./job-transports.js";
import { isRefusal, refusal, retryDelay } from "./retry.js";

/** Events that a log holds while it follows its job. */
export const CAPACITY = 25_000;
/** Events that are dropped together when it is full. */
const TRIM_EVENTS = 5_000;
const PAGE_LIMIT = 1_000;
/** Length of the history that is read at once; large events fill the memory before the log is full. */
const MAX_CHARS = 50_000_000;
/** Events per call of `onEvents`, so that the page stays responsive. */
const BATCH_EVENTS = 500;
const FLUSH_MS = 30;
const RESPONSE_TIMEOUT_MS = 45_000;
const CLOCK_MS = 3_000;
const nothing = () => {};

/** Opens the log of a job. See job-log.d.ts. */
export function openLog(jobId, options = {}) {
  validateLog(jobId, options);
  const { onEvents, onTrim, onReset, onLive, onEnd, onStatus, onProgress, ...connection } = options;
  const on = { onEvents, onTrim, onReset, onLive, onEnd, onStatus, onProgress };
  const log = new JobLog(jobId, connection, on);
  log.open();
  return log;
}

const isEvent = (value) => isObject(value) && typeof value.id === "string";
const nextTask = () => new Promise((resolve) => setTimeout(resolve));

class JobLog {
  constructor(jobId, connection, on) {
    Object.assign(this, { jobId, connection });
    this.on = Object.fromEntries(Object.entries(on).map(([name, call]) => [name, call ?? nothing]));
    this.capacity = CAPACITY;
    this.failures = 0;
    this.status = "loading";
    /** The oldest first. The array is changed in place. @type {import("./job-events.js").JobEvent[]} */
    this.events = [];
    this.hasEarlier = this.ended = false;
    /** What the clock of the server is ahead of that of the browser. */
    this.clockOffset = 0;
    this.pending = [];
    this.run = null;
    this.watch = null;
  }

  get url() {
    return `${this.connection.baseUrl ?? "/api/jobs/"}${this.jobId}/events/`;
  }

  /** Reads the log and follows it; again from the start after a reset. */
  async open() {
    const run = new AbortController();
    this.run = run;
    this.setStatus("loading");
    // The history accepts no tickets: the transports read the log from its start.
    if (!this.connection.ticket) await this.load(run.signal);
    if (run.signal.aborted) return;
    const after = this.events.at(-1)?.id;
    this.watch = watchJob(this.jobId, {
      ...this.connection,
      ...(after ? { after } : {}),
      onEvent: (event) => this.buffer(event),
      onLive: () => {
        this.flush();
        this.failures = 0;
        this.on.onLive();
      },
      onEnd: () => {
        this.flush();
        this.ended = true;
        this.on.onEnd();
      },
      // After the client has scheduled to connect again, which closing it prevents.
      onReset: (info) => queueMicrotask(() => this.reset(info)),
      onStatus: (status, detail) => this.setStatus(detail?.refused ? "refused" : status, detail),
    });
  }

  close() {
    this.run?.abort();
    this.watch?.close();
    clearTimeout(this.timer);
    this.pending = [];
  }

  setStatus(status, detail) {
    if (status === "ended" || status === "refused") this.flush();
    this.status = status;
    this.on.onStatus(status, detail);
  }

  // History

  /** Reads the newest pages, up to the capacity, then delivers their events in order. */
  async load(signal) {
    const { events, hasEarlier, isLarge } = await this.readBack("", CAPACITY, signal);
    if (signal.aborted) return;
    this.hasEarlier = hasEarlier;
    if (isLarge) this.capacity = Math.min(CAPACITY, events.length + TRIM_EVENTS);
    for (let at = 0; at < events.length; at += BATCH_EVENTS) {
      if (at) await nextTask();
      if (signal.aborted) return;
      this.deliver(events.slice(at, at + BATCH_EVENTS));
    }
  }

  /** Reads at most so many events before a cursor, from the newest on. */
  async readBack(before, most, signal) {
    const pages = [];
    let [count, chars] = [0, 0];
    let hasEarlier = false;
    let next = this.request(before, signal);
    while (next) {
      const page = await next;
      if (signal.aborted) break;
      const results = Array.isArray(page.results) ? page.results.filter(isEvent) : [];
      count += results.length;
      chars += page.chars ?? 0;
      hasEarlier = Boolean(page.next && results.length);
      // The next page is on its way while this one is processed.
      next = hasEarlier && count < most && chars < MAX_CHARS ? this.request(results.at(-1).id, signal) : null;
      pages.push(results.reverse());
      this.on.onProgress(count);
    }
    const events = pages.reverse().flat();
    return { events: events.slice(-most), hasEarlier: hasEarlier || events.length > most, isLarge: chars >= MAX_CHARS };
  }

  /** Requests a page, until the server answers or refuses. */
  async request(before, signal) {
    const url = `${this.url}?order=desc&limit=${PAGE_LIMIT}${before && `&before=${before}`}`;
    while (!signal.aborted) {
      try {
        const limited = AbortSignal.any?.([signal, AbortSignal.timeout(RESPONSE_TIMEOUT_MS)]) ?? signal;
        const response = await fetch(url, { signal: limited, headers: { Accept: "application/json" } });
        if (response.ok) {
          this.compareClocks(response);
          const text = await response.text();
          const page = { ...parseObject(text), chars: text.length };
          this.failures = 0;
          if (this.status === "reconnecting" && !this.watch) this.setStatus("loading");
          return page;
        }
        if (isRefusal(response.status)) {
          this.refuse(response.status);
          break;
        }
      } catch {
        // Retried below, unless the log was closed.
      }
      if (!signal.aborted) await this.wait(signal);
    }
    return {};
  }

  /** The header has seconds only, and the answer took time: small differences are none. */
  compareClocks(response) {
    const offset = Date.parse(response.headers.get("Date") ?? "") - Date.now();
    if (Number.isFinite(offset)) this.clockOffset = Math.abs(offset) > CLOCK_MS ? offset : 0;
  }

  refuse(status) {
    this.run.abort();
    this.watch?.close();
    this.setStatus("refused", refusal(status));
  }

  async wait(signal) {
    this.failures += 1;
    if (!this.watch) this.setStatus("reconnecting");
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, retryDelay(this.failures));
      signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
    });
  }

  /** Reads earlier events into the window. Returns them; empty if there are none, or they cannot be read. */
  async loadEarlier(most = TRIM_EVENTS) {
    if (!this.hasEarlier || this.connection.ticket || !this.events.length) return [];
    this.earlier ??= this.readEarlier(most).finally(() => (this.earlier = null));
    return this.earlier;
  }

  async readEarlier(most) {
    const { signal } = this.run;
    const first = this.events[0].id;
    const { events, hasEarlier } = await this.readBack(first, most, signal);
    // A trim or a reset has changed the window meanwhile.
    if (signal.aborted || this.events[0]?.id !== first) return [];
    this.hasEarlier = hasEarlier;
    this.events.unshift(...events);
    this.capacity += events.length;
    return events;
  }

  // Live

  buffer(event) {
    if (!isEvent(event)) return;
    this.pending.push(event);
    this.timer ||= setTimeout(() => this.flush(), FLUSH_MS);
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = 0;
    const events = this.pending;
    this.pending = [];
    for (let at = 0; at < events.length; at += BATCH_EVENTS) this.deliver(events.slice(at, at + BATCH_EVENTS));
  }

  deliver(events) {
    for (const event of events) this.events.push(event);
    this.on.onEvents(events);
    if (this.events.length <= this.capacity) return;
    const gone = this.events.splice(0, Math.max(TRIM_EVENTS, this.events.length - this.capacity));
    this.hasEarlier = true;
    this.on.onTrim(gone);
  }

  /** The log differs from what was delivered. */
  async reset(info) {
    this.close();
    this.failures += 1;
    this.events.length = 0;
    this.watch = null;
    this.hasEarlier = false;
    this.capacity = CAPACITY;
    this.run = new AbortController();
    const { signal } = this.run;
    this.on.onReset(info);
    await this.wait(signal);
    if (!signal.aborted) this.open();
  }
}
