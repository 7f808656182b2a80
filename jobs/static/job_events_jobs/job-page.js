/**
 * The run page: reads the log of the job, follows it, and draws changes once per frame.
 *
 * The parts of the page receive the object `page`: {config, job, log, model, events, translate, url, now(),
 * announce(text), loadEarlier(), select({event, span, tab}), attempt, compareWith, isPlayback, timeZone}. `events` are the
 * displayed ones, `job` is the latest answer of the API.
 *
 * Scripts of a result template receive the displayed events as "job-events" of `document`, with the detail
 * {events, restart, live}. `restart`: the events begin at the start of the log again, discard the earlier
 * ones. `live`: false while the log up to the page load is read.
 */
import { TERMINAL } from "../job_events/job-attempts.js";
import { eventSource, polling } from "../job_events/job-events.js";
import { openLog } from "../job_events/job-log.js";
import { JobModel } from "../job_events/job-model.js";
import { announcer, byId, setText, showLiveState } from "./elements.js";
import { createActions } from "./job-actions.js";
import { createAttempts } from "./attempt-chips.js";
import { countText, createHead } from "./job-head.js";
import { createProblem } from "./job-problem.js";
import { formatNumber, pageConfig, serverClock, timeZone, translator } from "./page-text.js";
import { createQuestions } from "./questions.js";
import { createReplay } from "./replay.js";
import { Tabs } from "./tabs.js";
import { UrlState } from "./url-state.js";

/** The page shows the job of the page load until the log is read, at most for this time. */
const SETTLE_MS = 10_000;
/** Many events a second are drawn together. */
const DRAW_MS = 100;
/** The replay applies at most as many events between two frames. */
const MAX_APPLIED_EVENTS = 4_000;
/** A hidden page gets no animation frames. */
const HIDDEN_DRAW_MS = 500;
/** If more events wait to be drawn, the page is drawn anew. */
const MAX_WAITING_EVENTS = 2_000;
/** Least time between two requests of the job, for what the log does not contain. */
const REFRESH_MS = 5_000;

const config = pageConfig();
const serverNow = serverClock(config);
const page = {
  config,
  job: config.job,
  log: null,
  model: new JobModel(config.job),
  events: [],
  isPlayback: false,
  timeZone,
  translate: translator(config.strings),
  announce: announcer(byId("announce")),
  url: new UrlState(() => tabs.follow()),
  now: () => (page.isPlayback ? replay.now : serverNow()),
  loadEarlier,
  select: ({ event = null, span = null, tab = span ? "timeline" : "events" }) => tabs.open(tab, { event, span }),
  get attempt() {
    const chosen = page.url.number("attempt");
    return chosen && chosen <= page.model.attempt ? chosen : page.model.attempt;
  },
  get compareWith() {
    const chosen = page.url.number("compare");
    return chosen && chosen <= page.model.attempt && chosen !== page.attempt ? chosen : null;
  },
};
const state = { isSettled: false, isLive: false, isDrawing: false, restart: true, events: [], status: "loading", loaded: 0, drawnAt: -Infinity, timer: 0, frame: 0 };
const replay = createReplay(page.translate, drawSoon);
const parts = [createHead(page), createProblem(page), createAttempts(page, redrawAll), createQuestions(byId("question-area"), page)];
const tabs = new Tabs(page, drawSoon);
const refresh = createRefresh();

function main() {
  createActions(page, tabs);
  page.log = openLog(config.jobId, {
    baseUrl: config.apiUrl,
    ...(config.socketUrl ? { socketUrl: config.socketUrl } : { transports: [eventSource, polling] }),
    onEvents: take,
    onTrim: trim,
    onReset: startAnew,
    onLive: settle,
    onEnd: () => refresh(true).finally(settle),
    onStatus: showStatus,
    onProgress: showProgress,
  });
  page.events = page.log.events;
  setTimeout(settle, SETTLE_MS);
  document.addEventListener("visibilitychange", () => state.isDrawing && scheduleDraw());
  setInterval(() => state.isSettled && !TERMINAL.has(page.model.status) && drawSoon(), 1_000);
}

function take(events) {
  if (page.events === page.log.events) {
    for (const event of events) {
      page.model.add(event);
      if (!state.restart) state.events.push(event);
    }
    if (state.events.length > MAX_WAITING_EVENTS) Object.assign(state, { restart: true, events: [] });
  }
  if (state.isSettled) drawSoon();
}

function trim(events) {
  if (page.events === page.log.events) page.model.trim(events);
}

function startAnew(info) {
  page.announce(page.translate("reset", { reason: String(info?.reason ?? "") }));
  state.isSettled = state.isLive = false;
  if (page.isPlayback) replay.close();
  page.isPlayback = false;
  beginWith(page.job);
  page.events = page.log.events;
}

/** The model contains no events before its first one: it is filled again. */
async function loadEarlier() {
  const added = await page.log.loadEarlier();
  if (!added.length) return;
  if (!page.isPlayback) beginWith(page.job);
  drawSoon();
}

/** Discards all events. */
function beginWith(job) {
  page.model = new JobModel(job);
  page.events = [];
  Object.assign(state, { restart: true, events: [] });
}

/** Draws the page once the log is read. */
async function settle() {
  await tabs.loading;
  if (!state.isSettled) {
    state.isSettled = true;
    draw();
  }
  state.isLive = true;
  drawSoon();
}

function redrawAll() {
  state.restart = true;
  drawSoon();
}

function drawSoon() {
  if (state.isDrawing) return;
  state.isDrawing = true;
  scheduleDraw();
}

/** Again if the page is hidden or shown meanwhile: a pending frame of a hidden page does not run. */
function scheduleDraw() {
  clearTimeout(state.timer);
  cancelAnimationFrame(state.frame);
  const wait = replay.isOn ? 0 : state.drawnAt + DRAW_MS - performance.now();
  if (document.hidden) state.timer = setTimeout(draw, HIDDEN_DRAW_MS);
  else if (wait > 0) state.timer = setTimeout(scheduleDraw, wait);
  else state.frame = requestAnimationFrame(draw);
}

function draw() {
  state.isDrawing = false;
  if (!state.isSettled) return;
  replay.setLog(page.log.events);
  if (!playBack()) return drawSoon();
  state.drawnAt = performance.now();
  const change = { restart: state.restart, events: state.restart ? page.events : state.events };
  Object.assign(state, { restart: false, events: [] });
  for (const part of parts) part.draw(change);
  tabs.change(change);
  tabs.draw();
  sendToResultView(change);
  showStatus();
  if (change.events.length) refresh();
}

/**
 * Applies events up to the time of the replay, or all of them after its end: a part of them, so that the page
 * stays responsive. @returns {boolean} Whether all are applied.
 */
function playBack() {
  const log = page.log.events;
  if (replay.isOn !== page.isPlayback) {
    page.isPlayback = replay.isOn;
    beginWith(replay.isOn ? null : page.job);
  } else if (page.events === log) {
    return true;
  }
  const until = replay.isOn ? replay.count(log) : log.length;
  if (until < page.events.length || (page.events.length && log[0] !== page.events[0])) beginWith(replay.isOn ? null : page.job);
  const next = Math.min(until, page.events.length + MAX_APPLIED_EVENTS);
  for (const event of log.slice(page.events.length, next)) {
    page.model.add(event);
    if (!state.restart) state.events.push(event);
  }
  page.events = !replay.isOn && next === log.length ? log : log.slice(0, next);
  return next === until;
}

function sendToResultView({ events, restart }) {
  if (!events.length && !restart) return;
  document.dispatchEvent(new CustomEvent("job-events", { detail: { events: [...events], restart, live: state.isLive } }));
}

function showProgress(count) {
  state.loaded = count;
  showStatus();
}

function showStatus(status = state.status, detail = state.detail) {
  Object.assign(state, { status, detail });
  if (status === "refused" && !state.isSettled) settle();
  // "All events" is shown with all events.
  if (status === "ended" && state.isDrawing) draw();
  const shown = !state.isSettled && status !== "reconnecting" ? "loading" : status;
  const total = page.events.length;
  const count = formatNumber(shown === "loading" ? Math.max(state.loaded, total) : total);
  showLiveState(shown, page.translate(`live.${shown}`, { count }));
  if (state.isSettled) setText(byId("event-count"), countText(page, total));
}

/** Returns a function that requests the job when what the log does not contain may have changed. */
function createRefresh() {
  let [known, timer, last] = [null, 0, 0];
  const request = async () => {
    [timer, last] = [0, performance.now()];
    try {
      const response = await fetch(config.jobUrl, { headers: { Accept: "application/json" } });
      if (!response.ok) return;
      page.job = await response.json();
      // A response from before the end of the job may arrive after the event that ended it.
      const isOlder = TERMINAL.has(page.model.status) && !TERMINAL.has(page.job.status);
      if (!page.isPlayback && !isOlder) page.model.setJob(page.job);
      drawSoon();
    } catch {
      // The events contain the same status and result.
    }
  };
  return (isEnd = false) => {
    const { status, attempt, modelCalls, worker } = page.model;
    const key = [status, attempt, modelCalls, worker].join();
    const isSame = known === null || key === known;
    known = key;
    if (isEnd) return request();
    if (isSame || timer || page.isPlayback) return Promise.resolve();
    timer = setTimeout(request, Math.max(0, last + REFRESH_MS - performance.now()));
    return Promise.resolve();
  };
}

main();
