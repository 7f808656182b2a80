/**
 * The monitor, live: polls the statistics while the page is visible. An unchanged answer has no body.
 */
import { openDialog } from "./confirm.js";
import { announcer, byId, element, setText, showLiveState } from "./elements.js";
import { createCharts } from "./monitor-charts.js";
import { formatMoment } from "./monitor-format.js";
import { createHealth } from "./monitor-health.js";
import { createTables, tick } from "./monitor-tables.js";
import { pageConfig, serverClock, translator } from "./page-text.js";
import { postJson } from "./post.js";

const MAX_RETRY_MS = 60_000;
const RESPONSE_TIMEOUT_MS = 30_000;
const MAX_MISSING_PERIODS = 2;
const RANGES = ["1h", "24h", "7d"];

const config = pageConfig();
const translate = translator(config.strings);
const announce = announcer(byId("announce"));
const serverNow = serverClock(config);

const query = new URLSearchParams(location.search);
const chosen = {
  range: RANGES.includes(query.get("range")) ? query.get("range") : RANGES[0],
  taskType: query.get("task_type") ?? "",
};
const polling = { timer: 0, failures: 0, etag: "", request: null, refused: false };
const drawCharts = createCharts(byId("charts"), translate);
const drawTables = createTables(translate);
const drawHealth = createHealth(byId("health"), byId("attention"), translate);

function main() {
  document.addEventListener("visibilitychange", wake);
  addEventListener("online", wake);
  addEventListener("offline", wake);
  document.addEventListener("click", onClick);
  byId("task-type").addEventListener("change", (event) => choose({ taskType: event.target.value }));
  setInterval(() => document.hidden || tick(serverNow(), translate), 1_000);
  showChoice();
  poll();
}

/** Resumes or pauses with the visibility of the page and the network. */
function wake() {
  clearTimeout(polling.timer);
  if (polling.refused) return;
  if (!navigator.onLine) return showState("offline");
  if (document.hidden) return showState("paused");
  polling.failures = 0;
  poll();
}

function choose(change) {
  Object.assign(chosen, change);
  const url = new URL(location.href);
  for (const [name, value] of [["range", chosen.range], ["task_type", chosen.taskType]]) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, "", url);
  polling.etag = "";
  showChoice();
  wake();
}

function showChoice() {
  for (const button of document.querySelectorAll("[data-range]")) {
    button.setAttribute("aria-pressed", String(button.dataset.range === chosen.range));
  }
}

/** A newer request replaces one that is still running. */
async function poll() {
  polling.request?.abort();
  const request = (polling.request = new AbortController());
  try {
    await load(AbortSignal.any([request.signal, AbortSignal.timeout(RESPONSE_TIMEOUT_MS)]));
    polling.failures = 0;
    showOutage("");
    showState("live");
  } catch (error) {
    if (request.signal.aborted) return;
    polling.refused = Boolean(error.refused);
    if (polling.refused) return showState("refused");
    polling.failures += 1;
    showState("offline");
    showOutage(error.detail ?? "");
  }
  if (document.hidden || !navigator.onLine) return wake();
  polling.timer = setTimeout(poll, Math.min(MAX_RETRY_MS, config.refreshMs * 2 ** polling.failures));
}

async function load(signal) {
  const url = new URL(config.statisticsUrl, location.href);
  url.searchParams.set("range", chosen.range);
  if (chosen.taskType) url.searchParams.set("task_type", chosen.taskType);
  const headers = { Accept: "application/json", ...(polling.etag ? { "If-None-Match": polling.etag } : {}) };
  const answer = await fetch(url, { headers, signal, cache: "no-store" });
  if (answer.status === 304) return;
  if ([401, 403].includes(answer.status)) throw Object.assign(new Error("refused"), { refused: true });
  const body = await answer.json().catch(() => ({}));
  signal.throwIfAborted();
  if (!answer.ok) throw Object.assign(new Error(`HTTP ${answer.status}`), { detail: body.detail });
  draw(body);
  polling.etag = answer.headers.get("ETag") ?? "";
}

function draw(statistics) {
  drawHealth(statistics);
  showAge(drawCharts(statistics), statistics);
  drawTables(statistics);
  drawTypes(statistics.task_types);
  tick(serverNow(), translate);
  document.documentElement.dataset.drawn = statistics.range;
}

/** Says that figures are missing: all, or those of the latest periods. @param {number|null} latest */
function showAge(latest, { from, step, series }) {
  byId("no-figures").hidden = latest !== null;
  const note = byId("old-figures");
  const oldest = () => Date.parse(from) / 1000 + (series.events_appended.length - MAX_MISSING_PERIODS) * step;
  note.hidden = latest === null || latest >= oldest();
  if (!note.hidden) setText(note, translate("figures.until", { time: formatMoment(latest + step) }));
}

/** Keeps the options in place while the list is open. */
function drawTypes(names) {
  const select = byId("task-type");
  const wanted = [...new Set([...names, chosen.taskType].filter(Boolean))].sort();
  const shown = [...select.options].slice(1).map(({ value }) => value);
  if (wanted.join("\n") !== shown.join("\n") && document.activeElement !== select) {
    const options = wanted.map((name) => element("option", { value: name }, name));
    select.replaceChildren(select.options[0], ...options);
  }
  select.value = chosen.taskType;
}

function onClick({ target }) {
  const button = target.closest("button");
  if (button?.dataset.range) choose({ range: button.dataset.range });
  else if (button?.dataset.action === "retry") act(button);
  else if (button?.dataset.action === "cancel") confirmCancel(button);
}

async function confirmCancel(button) {
  setText(byId("confirm-job"), button.dataset.title);
  if ((await openDialog(byId("confirm"))) === "cancel") act(button);
}

/** Sends the action of a button, and shows what it changed. */
async function act(button) {
  const { action, jobId } = button.dataset;
  const body = { attempt: Number(button.dataset.attempt) };
  button.disabled = true;
  const { isDone, detail } = await postJson(`${config.jobsUrl}${jobId}/${action}/`, body, config.csrfHeader);
  button.disabled = false;
  const text = isDone ? translate(`done.${action}`) : (detail ?? translate("action.failed"));
  announce(text);
  setText(byId("action-result"), text);
  byId("action-result").hidden = false;
  wake();
}

function showOutage(text) {
  const note = byId("outage");
  note.hidden = polling.failures === 0;
  setText(note, text || translate("outage"));
}

const showState = (state) => showLiveState(state, translate(`live.${state}`));

main();
