/**
 * The log and the model that the elements of one job share.
 */
import { openLog } from "./job-log.js";
import { JobModel } from "./job-model.js";
import { eventSource, polling } from "./job-events.js";

/** A hidden page gets no animation frames. */
const HIDDEN_DRAW_MS = 500;
const TICK_MS = 1_000;
/** @type {Map<string, SharedLog>} */
const shared = new Map();

/**
 * Joins the log of the job of an element. `element` has the method `update(what, event)`, and `redraw()`.
 * @param {{jobId: string, baseUrl: string|null, socketUrl: string|null, ticketUrl: string|null}} address
 * @returns {SharedLog}
 */
export function joinLog(address, element) {
  const key = JSON.stringify(address);
  if (!shared.has(key)) shared.set(key, new SharedLog(key, address));
  shared.get(key).members.add(element);
  return shared.get(key);
}

async function fetchTicket(url) {
  const response = await fetch(url, { method: "POST", credentials: "include" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return (await response.json()).ticket;
}

class SharedLog {
  constructor(key, { jobId, baseUrl, socketUrl, ticketUrl }) {
    this.key = key;
    this.members = new Set();
    this.frame = this.timer = 0;
    this.isLive = false;
    this.jobUrl = ticketUrl ? null : `${baseUrl ?? "/api/jobs/"}${jobId}/`;
    this.model = new JobModel();
    this.log = openLog(jobId, {
      ...(baseUrl ? { baseUrl } : {}),
      // Without an address of sockets, the server has none.
      ...(socketUrl === "" ? { transports: [eventSource, polling] } : socketUrl ? { socketUrl } : {}),
      ...(ticketUrl ? { ticket: () => fetchTicket(ticketUrl) } : {}),
      onEvents: (events) => this.add(events),
      onTrim: (events) => this.model.trim(events),
      onReset: () => this.clear(),
      onLive: () => this.setLive("live"),
      onEnd: () => this.setLive("end"),
      onStatus: () => this.redrawSoon(),
    });
    this.onVisibility = () => (this.frame || this.timer) && this.scheduleRedraw();
    document.addEventListener("visibilitychange", this.onVisibility);
    this.ticking = setInterval(() => this.model.status === "running" && this.redrawSoon(), TICK_MS);
  }

  get now() {
    return Date.now() + this.log.clockOffset;
  }

  /** The state of the job is known. */
  get hasState() {
    return this.isLive || this.model.count > 0;
  }

  leave(element) {
    this.members.delete(element);
    if (this.members.size) return;
    this.log.close();
    clearInterval(this.ticking);
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.cancel();
    shared.delete(this.key);
  }

  add(events) {
    for (const event of events) {
      this.model.add(event);
      this.notify("event", event);
    }
    this.redrawSoon();
  }

  clear() {
    this.model = new JobModel();
    this.isLive = false;
    this.redrawSoon();
  }

  setLive(what) {
    this.isLive = true;
    const isWhole = this.log.events[0]?.event_type === "job_created";
    if (!isWhole) this.fetchJob();
    this.notify(what);
    this.redrawSoon();
  }

  /** The log may lack its beginning, and a program without jobs publishes no status. */
  async fetchJob() {
    if (!this.jobUrl) return;
    try {
      const response = await fetch(this.jobUrl, { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      this.model.setJob(await response.json());
      this.redrawSoon();
    } catch {
      // The events alone are shown.
    }
  }

  notify(what, event = null) {
    for (const member of [...this.members]) member.update(what, event);
  }

  redrawSoon() {
    if (!this.frame && !this.timer) this.scheduleRedraw();
  }

  /** Again if the page is hidden or shown meanwhile: a pending frame of a hidden page does not run. */
  scheduleRedraw() {
    this.cancel();
    const draw = () => {
      this.cancel();
      for (const member of this.members) member.redraw();
    };
    if (document.hidden) this.timer = setTimeout(draw, HIDDEN_DRAW_MS);
    else this.frame = requestAnimationFrame(draw);
  }

  cancel() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
    this.frame = this.timer = 0;
  }
}
