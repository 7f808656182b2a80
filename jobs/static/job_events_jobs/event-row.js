/**
 * One row of the list of events: an event, or the start of an attempt.
 */
import { asTime } from "../job_events/untrusted.js";
import { element, setText } from "./elements.js";
import { fillWithAnsi } from "./event-details.js";
import { gist } from "./event-entries.js";
import { formatClock, formatTime } from "./page-text.js";

/** @returns {HTMLElement} An empty row; `row.parts` are its elements. */
export function createRow() {
  const parts = {
    clock: element("time", { class: "event-clock" }),
    level: element("span", { class: "event-level" }),
    type: element("span", { class: "event-type", dir: "auto" }),
    gist: element("span", { class: "event-gist", dir: "auto" }),
    divider: element("span", { class: "event-divider" }),
  };
  parts.link = element("a", { class: "event-link" }, parts.clock, parts.level, parts.type, parts.gist);
  const row = element("div", { class: "event-row", role: "listitem" }, parts.link, parts.divider);
  return Object.assign(row, { parts });
}

/**
 * @param {ReturnType<typeof createRow>} node
 * @param {Object} row  An entry, or {key, divider, attempt}.
 * @param {{translate: Function, isSelected: boolean, href: string, again: () => void}} view
 */
export function updateRow(node, row, { translate, isSelected, href, again }) {
  node.dataset.key = row.key;
  node.toggleAttribute("data-divider", Boolean(row.divider));
  const { link, divider, clock, level, type, gist: text } = node.parts;
  link.hidden = Boolean(row.divider);
  divider.hidden = !row.divider;
  if (row.divider) return setText(divider, translate("events.attempt", { number: row.attempt }));
  const time = asTime(row.event.timestamp);
  const shownLevel = row.level || (row.isError ? "error" : "");
  node.dataset.level = shownLevel;
  link.href = href;
  if (isSelected) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
  setText(clock, time === null ? "–" : formatClock(time));
  clock.title = time === null ? "" : formatTime(time);
  setText(level, shownLevel && translate(`level.${shownLevel}`));
  setText(type, row.type);
  fillWithAnsi(text, gist(row.event), again);
}
