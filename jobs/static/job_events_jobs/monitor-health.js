/**
 * Health of the monitor: the state of each part, and in sentences what is wrong.
 */
import { element } from "./elements.js";
import { formatMoment, formatQuantity } from "./monitor-format.js";
import { isSame, timeAgo } from "./monitor-tables.js";

const RANK = ["ok", "unknown", "warning", "critical"];
/** The items, each with the item that completes its text. */
const CARDS = [
  ["processors"],
  ["outbox", "outbox_age"],
  ["archive", "archive_age"],
  ["redis"],
  ["redis_memory"],
  ["streams"],
  ["database"],
  ["stalled_logs"],
  ["lost_events"],
  ["alert_deliveries"],
];
const UNITS = { redis_memory: "bytes", outbox_age: "seconds", archive_age: "seconds" };
/** From this share of failed attempts on, a task type needs attention. */
const HIGH_RATE = 0.1;
const MAX_ERROR_CHARACTERS = 200;
const MAX_JOBS = 3;
const BIDI_CONTROLS = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * @param {HTMLElement} list
 * @param {HTMLElement} attention
 * @param {(name: string, values?: Record<string, any>) => string} translate
 */
export function createHealth(list, attention, translate) {
  const text = (name, value) => formatQuantity(value, UNITS[name] ?? "count");

  /** Replaces the children that differ, so that neither focus nor selection is lost. */
  function update(parent, nodes) {
    nodes.forEach((node, index) => {
      const old = parent.children[index];
      if (!old) parent.append(node);
      else if (!isSame(old, node)) old.replaceWith(node);
    });
    while (parent.children.length > nodes.length) parent.lastElementChild.remove();
  }

  function card([name, age], items) {
    const item = items.get(name);
    const older = items.get(age);
    const state = [item, older].map((each) => each?.state ?? "ok").reduce(worse);
    return element(
      "li",
      { class: "health-item", "data-state": state, "data-name": name },
      element("span", { class: "health-label" }, translate(`health.${name}`)),
      element("span", { class: "health-value" }, value(item, older)),
      element("span", { class: "state", "data-state": state }, translate(`state.${state}`)),
      element("span", { class: "health-limit" }, limit(item, older)),
    );
  }

  function value(item, older) {
    if (item.name === "redis" || item.name === "database") {
      return translate(item.state === "critical" ? "health.failing" : "health.connected");
    }
    const shown = text(item.name, item.value);
    if (item.limit !== null && item.value !== null) {
      return translate("health.of", { value: shown, limit: text(item.name, item.limit) });
    }
    return older?.value ? translate("health.oldest", { value: shown, age: text(older.name, older.value) }) : shown;
  }

  function limit(item, older) {
    const shown = older ?? item;
    if (item.name === "processors") return translate("health.least", { limit: shown.threshold });
    if (shown.threshold === null || !(shown.name in UNITS)) return "";
    return translate("health.threshold", { limit: text(shown.name, shown.threshold) });
  }

  /** The sentences about an item that is not well. */
  function problem(item) {
    const heading = element("strong", {}, translate(`health.${item.name}`));
    const [value, limit, threshold] = [item.value, item.limit, item.threshold].map((each) => text(item.name, each));
    const what = item.detail || translate(`warning.${item.name}`, { value, limit, threshold });
    const time = item.since ? formatMoment(Date.parse(item.since) / 1000) : "";
    const since = item.since ? [` ${translate("since", { time })} (`, timeAgo(item.since), ")."] : [];
    const parts = [heading, ` ${what}`, ...since];
    if (item.action) parts.push(` ${item.action}`);
    parts.push(" ", element("span", { class: "runbook" }, `${translate("health.runbook")} `, element("code", {}, item.runbook)));
    return line(item.state, ...parts);
  }

  function line(state, ...parts) {
    const word = translate(state === "unknown" ? "state.waiting" : `state.${state}`);
    const badge = element("span", { class: "state", "data-state": state }, word);
    return element("li", { class: "attention-item", "data-state": state }, badge, element("p", {}, ...parts));
  }

  function link(state, target, words, values) {
    return line(state, element("a", { href: `#${target}`, dir: "auto" }, translate(words, values)));
  }

  /** Text of a user in a sentence: its direction must not reorder the rest. */
  const isolated = (words) => `\u2068${words.replace(BIDI_CONTROLS, "")}\u2069`;

  /** Task types and jobs that need attention, with links to the tables. */
  function* jobProblems({ failing, stuck, waiting, alerts = [] }, isArchived) {
    for (const { task_type, rate, ended, failed, last_error } of failing) {
      if (rate < HIGH_RATE) continue;
      const percent = formatQuantity(rate, "share");
      const error = isolated(last_error.slice(0, MAX_ERROR_CHARACTERS));
      const counts = { failed: text("", failed), ended: text("", ended) };
      yield link("warning", "failing-title", "attention.failing", { type: task_type, percent, error, ...counts });
    }
    for (const row of isArchived ? stuck.slice(0, MAX_JOBS) : []) {
      const values = { title: isolated(row.title), type: row.task_type, worker: row.worker || "?" };
      const words = element("a", { href: "#jobs-title", dir: "auto" }, translate(`attention.${row.state}`, values));
      yield line(row.state === "stuck" ? "critical" : "warning", words, " ", timeAgo(row.since));
    }
    const more = isArchived ? stuck.length - MAX_JOBS : 0;
    if (more > 0) yield link("warning", "jobs-title", "attention.more", { count: more });
    const firing = alerts.filter(({ state }) => state === "firing").length;
    if (firing) yield link("warning", "alerts-title", "attention.alerts", { count: firing });
    if (waiting.length) yield link("unknown", "jobs-title", "attention.waiting", { count: waiting.length });
  }

  return function draw(statistics) {
    const items = new Map((statistics.health ?? []).map((item) => [item.name, item]));
    update(list, CARDS.filter(([name]) => items.has(name)).map((names) => card(names, items)));
    const wrong = [...items.values()].filter((item) => item.detail || item.state === "warning");
    const shown = new Set();
    const ordered = wrong.sort((one, other) => RANK.indexOf(other.state) - RANK.indexOf(one.state));
    // Two items may have the same problem: the count and the age of what waits.
    const sentences = ordered.filter(({ detail }) => !detail || (!shown.has(detail) && shown.add(detail))).map(problem);
    // Until events are archived, the time of the last event of a job is not known.
    const isArchived = !["processors", "archive_age"].some((name) => items.get(name)?.state === "critical");
    const lines = [...sentences, ...jobProblems(statistics, isArchived)];
    update(attention, lines.length ? lines : [line("ok", translate("attention.none"))]);
  };
}

function worse(one, other) {
  return RANK.indexOf(other) > RANK.indexOf(one) ? other : one;
}
