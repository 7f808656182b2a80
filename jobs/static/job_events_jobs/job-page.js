/**
 * The job page: reads the log of the job from its start, follows it, and draws changes once per frame.
 *
 * Scripts of a result template receive the displayed events as "job-events" of `document`, with the detail
 * {events, restart, live}. `restart`: the events begin at the start of the log again, discard the earlier
 * ones. `live`: false while the log up to the page load is read.
 */
import { eventSource, polling, watchJob } from "../job_events/job-events.js";
import { announcer, byId, setText } from "./elements.js";
import { createEventList } from "./event-list.js";
import { applyEvent, applyJob, initialState, isOver, PARTS } from "./job-state.js";
import { formatDuration, localiseTimes, pageConfig, translator } from "./page-text.js";
import { createQuestions } from "./questions.js";
import { createReplay } from "./replay.js";
import { createErrors, createHead, createResult, createTools } from "./panels.js";

/** The head shows the job of the page load until the log is read, at most for this time. */
const SETTLE_MS = 2_000;
/** A hidden page gets no animation frames. */
const HIDDEN_DRAW_MS = 500;

const config = pageConfig();
const translate = translator(config.strings);
const announce = announcer(byId("announce"));
const eventList = createEventList(translate);
const views = {
  head: createHead(translate, announce),
  errors: createErrors(translate),
  questions: createQuestions(translate, announce, config.inputsUrl),
  tools: createTools(translate),
  result: createResult(),
};

/** The job before its first event, for the replay. */
const BLANK = { ...config.job, status: "pending", attempt: 1, progress: 0, error: "", started_at: null, finished_at: null };
const page = {
  log: [],
  /** Number of events that the state contains. */
  taken: 0,
  state: initialState(config.job),
  /** The job of the API, after its end. */
  final: null,
  settled: false,
  drawing: false,
  replays: false,
  restart: true,
};
const replay = createReplay(translate, drawSoon);

function main() {
  localiseTimes(document);
  watchJob(config.jobId, {
    baseUrl: config.apiUrl,
    ...(config.socketUrl ? { socketUrl: config.socketUrl } : { transports: [eventSource, polling] }),
    onEvent: (event) => {
      page.log.push(event);
      drawSoon();
    },
    onLive: settle,
    onEnd: finish,
    onReset: startAnew,
    onStatus: showLiveState,
  });
  setTimeout(settle, SETTLE_MS);
  setInterval(drawElapsed, 1_000);
  byId("cancel-form").addEventListener("submit", cancel);
}

/** Draws the head once the log is read. */
function settle() {
  if (!page.settled) draw();
  page.settled = true;
  drawSoon();
}

async function finish() {
  try {
    const response = await fetch(config.jobUrl, { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    page.final = await response.json();
    takeEvents();
    if (!replay.isOn) applyJob(page.state, page.final);
  } catch {
    // The events contain the same status and result.
  } finally {
    settle();
  }
}

function startAnew(info) {
  Object.assign(page, { log: [], final: null, replays: false });
  beginWith(config.job);
  announce(translate("reset", { reason: String(info.reason ?? "") }));
  drawSoon();
}

/** Discards all events and starts with a new state. */
function beginWith(job, options) {
  Object.assign(page, { state: initialState(job), taken: 0, restart: true });
  PARTS.forEach((part) => page.state.changed.add(part));
  eventList.clear(options);
}

function showLiveState(status, detail) {
  if (status === "ended") draw(); // "All events received" is shown with all events
  document.documentElement.dataset.liveState = status;
  byId("live-chip").dataset.state = status;
  setText(byId("live-text"), translate(detail?.refused ? "live.refused" : `live.${status}`));
}

function drawSoon() {
  if (page.drawing) return;
  page.drawing = true;
  if (document.hidden) setTimeout(draw, HIDDEN_DRAW_MS);
  else requestAnimationFrame(draw);
}

function draw() {
  page.drawing = false;
  takeEvents();
  if (page.settled) replay.setLog(page.log);
  for (const part of PARTS) {
    if (!page.state.changed.has(part) || (part === "head" && !page.settled)) continue;
    page.state.changed.delete(part);
    views[part](page.state, page.settled);
  }
  drawElapsed();
}

/** Applies the events up to the end of the log, or up to the time of the replay. */
function takeEvents() {
  const until = replay.isOn ? replay.count(page.log) : page.log.length;
  if (replay.isOn !== page.replays || until < page.taken) {
    page.replays = replay.isOn;
    beginWith(replay.isOn ? BLANK : config.job, { keepType: true });
  }
  const events = page.log.slice(page.taken, until);
  page.taken = until;
  events.forEach((event) => applyEvent(page.state, event));
  if (events.length) eventList.add(events);
  if (events.length && !replay.isOn && page.final) applyJob(page.state, page.final);
  sendToResultView(events);
}

function sendToResultView(events) {
  const { restart, settled: live } = page;
  if (!events.length && !restart) return;
  page.restart = false;
  document.dispatchEvent(new CustomEvent("job-events", { detail: { events, restart, live } }));
}

/** Offset to the server's clock; the browser's clock may differ by hours. */
const serverOffset = Date.parse(config.now) - performance.now();

function drawElapsed() {
  const { state } = page;
  if (!page.settled || state.startedAt === null) return;
  const now = replay.isOn ? replay.now : performance.now() + serverOffset;
  const until = isOver(state) ? state.finishedAt : now;
  setText(byId("elapsed"), formatDuration((until ?? state.startedAt) - state.startedAt));
}

/** Cancels without leaving the page; the log then contains the cancellation. */
async function cancel(submit) {
  submit.preventDefault();
  const form = submit.target;
  form.querySelector("button").disabled = true;
  const answer = await fetch(location.href, {
    method: "POST",
    body: new FormData(form),
    redirect: "manual",
  }).catch(() => null);
  if (answer?.type !== "opaqueredirect") form.submit();
}

main();
