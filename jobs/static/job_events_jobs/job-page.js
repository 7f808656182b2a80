/**
 * The job page: reads the job's log from its start, follows it, and draws once per frame what changed.
 */
import { eventSource, polling, watchJob } from "../job_events/job-events.js";
import { createDocumentView } from "./document-view.js";
import { announcer, byId, setText } from "./elements.js";
import { createEventList } from "./event-list.js";
import { applyEvent, applyJob, initialState, isOver, PARTS } from "./job-state.js";
import { formatDuration, localiseTimes, pageConfig, translator } from "./page-text.js";
import { createQuestions } from "./questions.js";
import { createReplay } from "./replay.js";
import {
  createErrors,
  createHead,
  createOutline,
  createResult,
  createThoughts,
  createTools,
} from "./panels.js";

/** How long the head waits for the log to be read, before it shows what it has. */
const SETTLE_MS = 2_000;
/** Frames do not come while a page is hidden; events do. */
const HIDDEN_DRAW_MS = 500;

const config = pageConfig();
const say = translator(config.strings);
const announce = announcer(byId("announce"));
const eventList = createEventList(say);
const views = {
  head: createHead(say, announce),
  errors: createErrors(say),
  questions: createQuestions(say, announce, config.inputsUrl),
  thoughts: createThoughts(say),
  tools: createTools(say),
  outline: createOutline(say),
  document: createDocumentView(say, announce),
  result: createResult(),
};

/** A job of which nothing is known but what its log says. */
const BLANK = { ...config.job, status: "pending", attempt: 1, progress: 0, error: "", started_at: null, finished_at: null };
/** The log as it arrived, how much of it the state has, and the job as it was once that was over. */
const page = { log: [], taken: 0, state: initialState(config.job), final: null, settled: false, drawing: false, replays: false };
const replay = createReplay(say, drawSoon);

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

/** While the log is read, the head shows the job as it is, not as it was at each event on the way. */
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
    // The events have said what there is to say.
  } finally {
    settle();
  }
}

function startAnew(info) {
  Object.assign(page, { log: [], final: null, replays: false });
  beginWith(config.job);
  announce(say("reset", { reason: String(info.reason ?? "") }));
  drawSoon();
}

/** Forgets all events: from here the state is built anew. */
function beginWith(job, options) {
  Object.assign(page, { state: initialState(job), taken: 0 });
  PARTS.forEach((part) => page.state.changed.add(part));
  eventList.clear(options);
}

function showLiveState(status, detail) {
  document.documentElement.dataset.liveState = status;
  byId("live-chip").dataset.state = status;
  setText(byId("live-text"), say(detail?.refused ? "live.refused" : `live.${status}`));
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
  if (page.settled) replay.offer(page.log);
  for (const part of PARTS) {
    if (!page.state.changed.has(part) || (part === "head" && !page.settled)) continue;
    page.state.changed.delete(part);
    views[part](page.state, page.settled);
  }
  drawElapsed();
}

/** Brings the state to where the log is, or the replay. */
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
}

/** The server's clock counts, not the browser's: it may be wrong by hours. */
const serverOffset = Date.parse(config.now) - performance.now();

function drawElapsed() {
  const { state } = page;
  if (!page.settled || state.startedAt === null) return;
  const now = replay.isOn ? replay.now : performance.now() + serverOffset;
  const until = isOver(state) ? state.finishedAt : now;
  setText(byId("elapsed"), formatDuration((until ?? state.startedAt) - state.startedAt));
}

/** Cancels without leaving the page; the log then says that it was cancelled. */
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
