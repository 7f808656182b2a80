/**
 * The job list, live: requests the table again when a job changes, and updates the cells that differ.
 * Without a socket it polls.
 */
import { watchJobs } from "../job_events/job-events.js";
import { announcer, byId, setText } from "./elements.js";
import { formatDuration, localiseTimes, pageConfig, translator } from "./page-text.js";

const LAST_RETRY_MS = 30_000;
/** Changes within this time cause one request. */
const DEBOUNCE_MS = 250;
/** Interval of requests without a change while the socket is open. */
const IDLE_REFRESH_MS = 10_000;

const config = pageConfig();
const translate = translator(config.strings);
const announce = announcer(byId("announce"));
/** Offset to the server's clock; the browser's clock may differ by hours. */
const serverOffset = Date.parse(config.now) - performance.now();
const serverNow = () => performance.now() + serverOffset;
const list = { timer: 0, failures: 0, requesting: false, subscribed: false, changed: false };

function main() {
  freshen();
  setInterval(tick, 1_000);
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  addEventListener("offline", wake);
  addEventListener("pageshow", (event) => event.persisted && wake());
  showState("live");
  plan(config.refreshMs);
  if (config.socketUrl) subscribe();
}

function subscribe() {
  watchJobs({
    socketUrl: config.socketUrl,
    onJob: onChange,
    onLive: onChange,
    onStatus: (status) => (list.subscribed = status === "live"),
  });
}

/** Plans one request for all changes that arrive at once. */
function onChange() {
  if (list.changed || document.hidden || !navigator.onLine) return;
  list.changed = true;
  if (!list.requesting) plan(DEBOUNCE_MS);
}

/** Resumes or pauses with the visibility of the page and the network. */
function wake() {
  clearTimeout(list.timer);
  if (!navigator.onLine) return showState("offline");
  if (document.hidden) return showState("paused");
  list.failures = 0;
  refresh();
}

function plan(ms) {
  clearTimeout(list.timer);
  list.timer = setTimeout(refresh, ms);
}

async function refresh() {
  if (list.requesting) return;
  list.requesting = true;
  list.changed = false;
  try {
    await takeTable();
    list.failures = 0;
    showState("live");
  } catch (error) {
    if (error.refused) return showState("refused");
    list.failures += 1;
    showState("offline");
  } finally {
    list.requesting = false;
  }
  if (document.hidden || !navigator.onLine) return wake();
  if (list.changed && !list.failures) return plan(DEBOUNCE_MS);
  const every = list.subscribed && !list.failures ? IDLE_REFRESH_MS : config.refreshMs;
  plan(Math.min(LAST_RETRY_MS, every * 2 ** list.failures));
}

async function takeTable() {
  const url = new URL(location.href);
  url.searchParams.set("rows", "1");
  url.hash = "";
  const { status, responseURL, response } = await requestDocument(url);
  // The server redirects to the login page.
  if (responseURL !== url.href || [401, 403, 404].includes(status)) {
    throw Object.assign(new Error("refused"), { refused: true });
  }
  if (status !== 200) throw new Error(`HTTP ${status}`);
  const fresh = response.body;
  if (!changeRows(fresh)) byId("job-list").replaceChildren(...fresh.childNodes);
  freshen();
}

/** Requests a document that the browser parses: the page itself never converts text to HTML. */
function requestDocument(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.onload = () => resolve(request);
    request.onerror = () => reject(new Error("no response"));
    request.send();
  });
}

/** @returns {boolean} True if the rows were updated in place, false if one side has no table. */
function changeRows(fresh) {
  const [old, now] = [byId("job-list"), fresh].map((root) => root.querySelector("tbody"));
  if (!old || !now) return !old && !now;
  const known = new Map([...old.rows].map((row) => [row.dataset.jobId, row]));
  let added = 0;
  [...now.rows].forEach((row, index) => {
    const kept = known.get(row.dataset.jobId);
    known.delete(row.dataset.jobId);
    added += Number(!kept);
    const shown = kept ? changeRow(kept, row) : row;
    if (old.rows[index] !== shown) old.insertBefore(shown, old.rows[index] ?? null);
  });
  for (const row of known.values()) row.remove();
  changePager(fresh);
  if (added) announce(translate("announce.new", { count: added }));
  return true;
}

/** Replaces the cells that differ; equal cells keep the focus. */
function changeRow(kept, row) {
  if (kept.dataset.rowHash === row.dataset.rowHash) return kept;
  kept.dataset.rowHash = row.dataset.rowHash;
  [...row.cells].forEach((cell, index) => {
    const old = kept.cells[index];
    const progress = old.querySelector("progress");
    // Setting the value keeps the transition of the bar.
    if (progress) changeProgress(old, cell);
    else if (!old.isEqualNode(cell) && !old.contains(document.activeElement)) old.replaceWith(cell);
  });
  return kept;
}

function changeProgress(old, cell) {
  old.querySelector("progress").value = cell.querySelector("progress").value;
  setText(old.querySelector(".percent"), cell.querySelector(".percent").textContent);
}

function changePager(fresh) {
  const [old, now] = [byId("job-list"), fresh].map((root) => root.querySelector(".pager"));
  if (old && now && old.innerHTML !== now.innerHTML && !old.contains(document.activeElement)) {
    old.replaceWith(now);
  } else if (old && !now) old.remove();
  else if (!old && now) byId("job-list").append(now);
}

/** Times in the user's time zone and language, and running clocks. */
function freshen() {
  localiseTimes(byId("job-list"));
  tick();
}

function tick() {
  if (document.hidden) return;
  for (const clock of document.querySelectorAll("[data-since]")) {
    setText(clock, formatDuration(serverNow() - Date.parse(clock.dataset.since)));
  }
}

function showState(state) {
  byId("live-chip").dataset.state = state;
  document.documentElement.dataset.liveState = state;
  setText(byId("live-text"), translate(`live.${state}`));
}

main();
