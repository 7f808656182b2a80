/**
 * The head of the run page: status, phase, progress, facts, buttons, and the title of the document. Announces a
 * new status or phase.
 */
import { TERMINAL } from "../job_events/job-attempts.js";
import { byId, element, setText } from "./elements.js";
import { formatAgo, formatNumber, formatSpan, formatTime } from "./page-text.js";

const NO_VALUE = "–";

/** @returns {string} The status, or "waiting" while a question is open. */
function shownStatus({ status, questions }) {
  return status === "running" && questions.size ? "waiting" : status;
}

/** @param {Object} page */
export function createHead(page) {
  const { translate } = page;
  const badge = byId("job-badge").firstElementChild;
  const title = document.title.slice(document.title.indexOf(" · "));
  let [shown, phase] = [badge.dataset.status, ""];
  byId("handled").addEventListener("click", () => {
    page.url.set({ errors: "1" });
    page.select({ tab: "timeline" });
  });

  return { draw };

  function draw() {
    const { model } = page;
    const status = shownStatus(model);
    const label = translate(`status.${status}`);
    badge.dataset.status = status;
    setText(badge, label);
    document.title = label + title;
    drawProgress(page);
    drawHandled(page);
    drawFacts(page);
    showButtons(model.status);
    if (status !== shown) page.announce(translate("announce.status", { status: label }));
    else if (model.phase && model.phase !== phase) page.announce(translate("announce.phase", { phase: model.phase }));
    [shown, phase] = [status, model.phase];
  }
}

/** @returns {string} "fetch_page, 42%" */
export function placeText({ phase, progress }, translate) {
  const percent = progress ? translate("percent", { percent: Math.round(progress) }) : "";
  return [phase, percent].filter(Boolean).join(", ");
}

function drawProgress({ model, translate }) {
  const percent = Math.round(model.progress ?? 0);
  const isStopped = model.status === "failed" || model.status === "cancelled";
  const place = isStopped ? placeText(model, translate) : "";
  setText(byId("phase"), isStopped ? place && translate("phase.stopped", { place }) : model.status === "completed" ? "" : model.phase);
  setText(byId("phase-note"), TERMINAL.has(model.status) ? "" : model.message);
  setText(byId("percent"), model.status === "running" ? translate("percent", { percent }) : "");
  const bar = byId("progress");
  bar.dataset.status = model.status;
  bar.value = percent;
}

function drawHandled(page) {
  const count = page.model.handledErrors;
  byId("handled").hidden = !count;
  if (count) setText(byId("handled"), page.translate("handled", { count: countText(page, count) }));
}

function drawFacts(page) {
  const { model, translate } = page;
  const until = TERMINAL.has(model.status) ? (model.end ?? model.start) : page.now();
  set("duration", model.start !== null ? formatSpan((until - model.start) / 1000) : NO_VALUE);
  setSpan("queue", model.status === "pending" ? sinceQueued(page) : model.queueSeconds);
  setSpan("first", model.firstEventSeconds);
  set("attempt", attemptText(model, translate));
  set("calls", formatNumber(model.modelCalls));
  set("tokens", tokensText(model, translate));
  set("cost", moneyText(page) || NO_VALUE);
  const tools = { count: countText(page, model.toolCalls), failed: countText(page, model.toolErrors) };
  set("tools", model.toolErrors ? translate("tools.failed", tools) : tools.count);
  set("worker", model.worker || NO_VALUE);
  byId("fact-worker").title = model.worker ?? "";
  drawStart(model.start, page.now());
}

/** A count of what the events of the page report: a lower bound if there are earlier ones. */
export const countText = ({ log }, count) => (log?.hasEarlier ? "≥ " : "") + formatNumber(count);

function attemptText({ attempt, retries }, translate) {
  const number = formatNumber(attempt);
  return retries ? translate("attempt.retries", { number, count: formatNumber(retries) }) : number;
}

function sinceQueued({ model, now }) {
  const created = model.attempts.find(({ number }) => number === model.attempt)?.created;
  return Number.isFinite(created) ? Math.max(0, now() - created) / 1000 : NaN;
}

function set(name, text) {
  const node = byId(`fact-${name}`);
  if (node) setText(node, text);
}

const setSpan = (name, seconds) => set(name, Number.isFinite(seconds) ? formatSpan(seconds) : NO_VALUE);

function tokensText({ tokens, modelCalls }, translate) {
  if (!tokens) return modelCalls ? translate("tokens.unknown") : NO_VALUE;
  return translate("tokens", { input: formatNumber(tokens.input), output: formatNumber(tokens.output) });
}

/** @returns {string} The cost, in the precision that small costs need; "" if it is unknown, as of a moment of the past. */
export function moneyText({ job, config, isPlayback }) {
  if (typeof job.cost !== "number" || isPlayback) return "";
  const digits = job.cost < 1 ? 4 : 2;
  return `${job.cost.toFixed(digits)} ${config.currency}`;
}

function drawStart(start, now) {
  const fact = byId("fact-started");
  setText(byId("fact-ago"), start === null ? "" : formatAgo(start, now));
  if (start === null) return setText(fact, NO_VALUE);
  let time = fact.querySelector("time");
  if (!time) fact.replaceChildren((time = element("time")));
  time.dateTime = new Date(start).toISOString();
  setText(time, formatTime(start));
}

function showButtons(status) {
  const [cancel, retry] = [byId("cancel-form"), byId("retry-form")];
  if (!cancel) return;
  const hadFocus = cancel.contains(document.activeElement);
  cancel.hidden = TERMINAL.has(status);
  retry.hidden = !["failed", "cancelled"].includes(status);
  if (cancel.hidden && hadFocus) (retry.hidden ? byId("job-title") : retry.querySelector("button")).focus();
}
