/**
 * Search in the log of the job by the API: pages of matching events, and the matching ones that arrive later.
 */
const PAGE_EVENTS = 200;
const LATER_MS = 1_000;

export class EventSearch {
  /**
   * @param {string} url  Of the events of the job.
   * @param {{search: string, types: Set<string>}} query
   * @param {(events: Object[]) => void} onEvents  Called with each page, and with [] if the state changed.
   */
  constructor(url, { search, types }, onEvents) {
    this.parameters = [["search", search], ...[...types].map((type) => ["event_type", type])];
    Object.assign(this, { url, onEvents, cursor: "0", count: 0, timer: 0 });
    /** "loading", "more" (there are further pages), "complete" or "failed". */
    this.state = "loading";
    this.detail = "";
    this.control = new AbortController();
    this.isLater = false;
    this.read();
  }

  /** Reads the next page. */
  more() {
    if (this.state === "loading") return;
    this.state = "loading";
    this.onEvents([]);
    this.read();
  }

  /** Reads what the log contains after the last page, if all pages have been read. */
  later() {
    this.isLater = true;
    if (this.state !== "complete" || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.read();
    }, LATER_MS);
  }

  close() {
    this.control.abort();
    clearTimeout(this.timer);
  }

  async read() {
    this.isLater = false;
    const query = new URLSearchParams([...this.parameters, ["after", this.cursor], ["limit", PAGE_EVENTS]]);
    try {
      const response = await fetch(`${this.url}?${query}`, {
        headers: { Accept: "application/json" },
        signal: this.control.signal,
      });
      const body = await response.json();
      if (!response.ok) return this.fail(body.detail ?? "");
      this.take(body);
    } catch {
      if (!this.control.signal.aborted) this.fail("");
    }
  }

  take({ results, next, cursor }) {
    this.count += results.length;
    this.cursor = cursor;
    this.state = next ? "more" : "complete";
    this.onEvents(results);
    if (this.isLater) this.later();
  }

  fail(detail) {
    this.state = "failed";
    this.detail = String(detail);
    this.onEvents([]);
  }
}
