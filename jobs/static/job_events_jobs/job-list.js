/**
 * The job list, live: asks for its own table when it is told of a job, and changes the cells that differ.
 * Where nobody tells it, it asks again and again.
 */
import { watchJobs } from "../job_events/job-events.js";
import { announcer, byId, setText } from "./elements.js";
import { formatDuration, localiseTimes, pageConfig, translator } from "./page-text.js";

const LAST_RETRY_MS = 30_000;
/** How long to wait for more news, and how often to ask although there are none. */
const NEWS_MS = 250;
const TOLD_REFRESH_MS = 10_000;

const config = pageConfig();
const say = translator(config.strings);
const announce = announcer(byId("announce"));
/** The server's clock counts, not the browser's: it may be wrong by hours. */
const serverOffset = Date.parse(config.now) - performance.now();
const serverNow = () => performance.now() + serverOffset;
const list = { timer: 0, failures: 0, asking: false, text: "", told: false, news: false };

function main() {
  freshen();
  setInterval(tick, 1_000);
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  addEventListener("offline", wake);
  addEventListener("pageshow", (event) => event.persisted && wake());
  showState("live");
  plan(config.refreshMs);
  if (config.socketUrl) watchNews();
}

function watchNews() {
  watchJobs({
    socketUrl: config.socketUrl,
    onJob: heed,
    onLive: heed,
    onStatus: (status) => (list.told = status === "live"),
  });
}

/** There is news: of all that comes at once, the table is asked for once. */
function heed() {
  if (list.news || document.hidden || !navigator.onLine) return;
  list.news = true;
  if (!list.asking) plan(NEWS_MS);
}

/** Goes on or pauses, as the page is shown or hidden, online or offline. */
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
  if (list.asking) return;
  list.asking = true;
  list.news = false;
  try {
    await takeTable();
    list.failures = 0;
    showState("live");
  } catch (error) {
    if (error.refused) return showState("refused");
    list.failures += 1;
    showState("offline");
  } finally {
    list.asking = false;
  }
  if (document.hidden || !navigator.onLine) return wake();
  if (list.news && !list.failures) return plan(NEWS_MS);
  const every = list.told && !list.failures ? TOLD_REFRESH_MS : config.refreshMs;
  plan(Math.min(LAST_RETRY_MS, every * 2 ** list.failures));
}

async function takeTable() {
  const url = new URL(location.href);
  url.searchParams.set("rows", "1");
  const response = await fetch(url, { cache: "no-cache" });
  // A redirect leads to the login page.
  if (response.redirected || [401, 403, 404].includes(response.status)) {
    throw Object.assign(new Error("refused"), { refused: true });
  }
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  const text = await response.text();
  if (text === list.text) return;
  list.text = text;
  const fresh = new DOMParser().parseFromString(text, "text/html").body;
  if (!changeRows(fresh)) byId("job-list").replaceChildren(...fresh.childNodes);
  freshen();
}

/** @returns {boolean} Whether rows were changed in place; false when one side has no table. */
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
  if (added) announce(say("announce.new", { count: added }));
  return true;
}

/** Cells that are the same stay, with the focus that may be in them. */
function changeRow(kept, row) {
  if (kept.dataset.rowHash === row.dataset.rowHash) return kept;
  kept.dataset.rowHash = row.dataset.rowHash;
  [...row.cells].forEach((cell, index) => {
    const old = kept.cells[index];
    const progress = old.querySelector("progress");
    // Its value is set, so that the bar moves on instead of being drawn anew.
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

/** Times in the reader's zone and words; running clocks. */
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
  setText(byId("live-text"), say(`live.${state}`));
}

main();
