/**
 * The job list, live: requests the table again when a job changes, and the figures every few seconds. An unchanged
 * answer has no body. Without a socket it polls.
 */
import { watchJobs } from "../job_events/job-events.js";
import { announcer, byId, setText, showLiveState } from "./elements.js";
import { createActivity } from "./job-list-activity.js";
import { createKeys } from "./job-list-keys.js";
import { createRows } from "./job-list-rows.js";
import { createSelection } from "./job-list-selection.js";
import { createViews } from "./job-list-views.js";
import { formatNumber, pageConfig, serverClock, translator } from "./page-text.js";

const MAX_RETRY_MS = 30_000;
/** Changes within this time cause one request. */
const DEBOUNCE_MS = 250;
/** Interval of requests without a change while the socket is open. */
const IDLE_REFRESH_MS = 10_000;
const RESPONSE_TIMEOUT_MS = 30_000;

const config = pageConfig();
const translate = translator(config.strings);
const announce = announcer(byId("announce"));
const serverNow = serverClock(config);
const list = { timer: 0, failures: 0, requesting: false, subscribed: false, changed: false, refused: false, etag: "" };
const figures = { timer: 0, etag: "" };

const selection = createSelection({ config, translate, announce, refresh: () => wake() });
const rows = createRows({ translate, announce, serverNow, selection });
const drawActivity = createActivity(translate);

function main() {
  document.documentElement.dataset.scripted = ""; // a frame of the project may lack theme.js
  createViews(translate);
  createKeys();
  enhanceFilters();
  setInterval(() => document.hidden || rows.tick(), 1_000);
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  addEventListener("offline", wake);
  addEventListener("pageshow", (event) => event.persisted && wake());
  showState("live");
  plan(config.refreshMs);
  takeFigures();
  if (config.socketUrl) subscribe();
}

/** Applies a filter as soon as it is chosen; the button is for browsers without scripts. */
function enhanceFilters() {
  const form = byId("filters");
  form.addEventListener("change", ({ target }) => {
    const isOwn = byId("id_range").value === "own";
    byId("own-range").toggleAttribute("data-closed", !isOwn);
    if (target.id === "id_range" && isOwn) byId("id_since").focus();
    else if (target.type !== "search" && target.type !== "datetime-local") form.requestSubmit();
  });
  // Empty fields would be in every link.
  form.addEventListener("submit", () => {
    for (const field of form.elements) field.disabled ||= field.name !== "" && field.value === "";
    setTimeout(() => [...form.elements].forEach((field) => (field.disabled = false)));
  });
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
  if (list.refused) return;
  if (!navigator.onLine) return showState("offline");
  if (document.hidden) return showState("paused");
  list.failures = 0;
  refresh();
  takeFigures();
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
    if (error.refused) return refuse();
    list.failures += 1;
    showState("offline");
  } finally {
    list.requesting = false;
  }
  if (document.hidden || !navigator.onLine) return wake();
  if (list.changed && !list.failures) return plan(DEBOUNCE_MS);
  const every = list.subscribed && !list.failures ? IDLE_REFRESH_MS : config.refreshMs;
  plan(Math.min(MAX_RETRY_MS, every * 2 ** list.failures));
}

async function takeTable() {
  const answer = await request(partUrl("rows"), list.etag, "document");
  if (answer.status === 304) return;
  rows.take(answer.response.body);
  list.etag = answer.getResponseHeader("ETag") ?? "";
}

/** Requests the figures, then again after some seconds. The next answer comes even if this one fails. */
async function takeFigures() {
  clearTimeout(figures.timer);
  if (list.refused) return;
  try {
    const answer = await request(partUrl("summary"), figures.etag, "json");
    if (answer.status !== 304) {
      drawCounts(answer.response.counts);
      drawActivity(answer.response);
      figures.etag = answer.getResponseHeader("ETag") ?? "";
    }
  } catch (error) {
    if (error.refused) return refuse();
  }
  if (!document.hidden) figures.timer = setTimeout(takeFigures, config.summaryMs);
}

function partUrl(part) {
  const url = new URL(location.href);
  url.searchParams.set(part, "1");
  url.hash = "";
  return url;
}

/**
 * Requests a document that the browser parses, or JSON: the page itself never converts text to HTML.
 * @returns {Promise<XMLHttpRequest>}
 */
function request(url, etag, responseType) {
  return new Promise((resolve, reject) => {
    const sent = new XMLHttpRequest();
    sent.open("GET", url);
    sent.responseType = responseType;
    if (etag) sent.setRequestHeader("If-None-Match", etag);
    sent.onload = () => {
      // The server redirects to the login page.
      const refused = sent.responseURL !== url.href || [401, 403, 404].includes(sent.status);
      if (refused) reject(Object.assign(new Error("refused"), { refused }));
      else if (sent.status !== 304 && !(sent.status === 200 && sent.response)) reject(new Error(`HTTP ${sent.status}`));
      else resolve(sent);
    };
    sent.timeout = RESPONSE_TIMEOUT_MS;
    sent.onerror = sent.ontimeout = () => reject(new Error("no response"));
    sent.send();
  });
}

function drawCounts(counts) {
  for (const facet of byId("facets").querySelectorAll("[data-facet]")) {
    const count = counts[facet.dataset.facet];
    const text = formatNumber(Math.min(count, config.maxCount)) + (count > config.maxCount ? "+" : "");
    setText(facet.querySelector(".facet-count"), text);
    facet.toggleAttribute("data-empty", count === 0);
  }
}

/** The session has ended: what it showed disappears. */
function refuse() {
  list.refused = true;
  clearTimeout(list.timer);
  clearTimeout(figures.timer);
  selection.clear();
  for (const id of ["activity", "list-bar"]) byId(id).hidden = true;
  byId("job-list").replaceChildren(byId("logged-out").content.cloneNode(true));
  byId("log-in").href = location.href;
  showState("refused");
  announce(translate("live.refused"));
}

const showState = (state) => showLiveState(state, translate(`live.${state}`));

main();
