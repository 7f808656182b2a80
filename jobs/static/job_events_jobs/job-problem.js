/**
 * The error card: why the displayed attempt failed or was cancelled, and where.
 */
import { byId, element, setText } from "./elements.js";
import { placeText } from "./job-head.js";
import { formatNumber } from "./page-text.js";

const SHOWN_CHARACTERS = 600;
const SHOWN_LINES = 8;

/** @param {Object} page */
export function createProblem(page) {
  const { translate } = page;
  const card = byId("problem");
  let drawn = null;

  return { draw };

  function draw() {
    const problem = problemOf(page);
    card.hidden = problem === null;
    const key = JSON.stringify(problem);
    if (problem === null || key === drawn) return;
    drawn = key;
    card.dataset.status = problem.status;
    setText(byId("problem-title"), translate(`problem.${problem.status}`));
    byId("problem-body").replaceChildren(...body(problem));
  }

  function body(problem) {
    const { message, type, traceback, reason, reported } = problem;
    return [
      ...messageNodes(message, type),
      ...(reported ? messageNodes(translate("problem.reported", { error: reported }), "") : []),
      ...(reason && reason !== message ? [element("p", {}, reason)] : []),
      element("p", { class: "problem-place" }, ...place(problem)),
      ...(traceback ? [details(translate("problem.traceback"), traceback)] : []),
    ];
  }

  function messageNodes(message, type) {
    const short = message.split("\n").slice(0, SHOWN_LINES).join("\n").slice(0, SHOWN_CHARACTERS);
    const text = element("p", { class: "problem-message", dir: "auto" }, short === message ? message : `${short}…`);
    if (type) text.prepend(element("code", {}, type), " ");
    const count = formatNumber(message.length);
    return short === message ? [text] : [text, details(translate("problem.all", { count }), message)];
  }

  function details(summary, text) {
    const node = element("details", { class: "problem-more" }, element("summary", {}, summary));
    node.append(element("pre", { dir: "auto" }, text));
    return node;
  }

  function place({ attempt, phase, progress, eventId, spanId }) {
    const where = placeText({ phase, progress }, translate);
    const parts = [];
    if (page.model.attempt > 1) parts.push(translate("attempt", { number: attempt }));
    if (where) parts.push(translate("phase.stopped", { place: where }));
    if (spanId) parts.push(link({ span: spanId, tab: "timeline" }, "problem.span"));
    if (eventId) parts.push(link({ event: eventId, tab: "events" }, "problem.event"));
    return parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
  }

  function link(target, label) {
    const node = element("a", { href: page.url.href({ event: null, span: null, ...target }) }, translate(label));
    node.addEventListener("click", (click) => {
      if (click.ctrlKey || click.metaKey || click.shiftKey) return;
      click.preventDefault();
      page.select(target);
      byId("run-bar").scrollIntoView({ block: "start" });
    });
    return node;
  }
}

/** @returns {Object|null} The error or reason of the displayed attempt. */
function problemOf(page) {
  const { model, job, translate } = page;
  const attempt = model.attempts.find(({ number }) => number === page.attempt);
  if (!attempt || (attempt.status !== "failed" && attempt.status !== "cancelled")) return null;
  const fatal = model.fatalOf(attempt.number);
  const code = job.attempts?.find(({ number }) => number === attempt.number)?.reason ?? "";
  const sentence = translate(`reason.${code}`);
  const reason = sentence === `reason.${code}` ? code : sentence;
  const last = attempt.error;
  const error = fatal?.message || last;
  if (attempt.status === "cancelled" && !error && !reason) return null;
  return {
    status: attempt.status,
    attempt: attempt.number,
    message: error || reason || translate("problem.unnamed"),
    reason: error ? reason : "",
    // The error that ended the attempt may hide the one that a step raised.
    reported: last.includes(error) || error.includes(last) ? "" : last,
    type: fatal?.type ?? "",
    traceback: fatal?.traceback ?? "",
    phase: attempt.phase,
    progress: attempt.progress,
    eventId: fatal?.eventId ?? null,
    spanId: fatal?.spanId ?? null,
  };
}
