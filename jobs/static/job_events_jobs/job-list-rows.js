/**
 * The rows of the job list. Rows change in place; while the list is being read, new rows wait behind a button and no
 * row moves or disappears.
 */
import { byId, setText } from "./elements.js";
import { formatAge, formatDuration } from "./page-text.js";

/** Scrolled further than this, the first rows are not what the user sees. */
const TOP_PX = 40;
const hasHover = matchMedia("(hover: hover)");

/** @returns {{take(body: HTMLElement): void, tick(): void}} */
export function createRows({ translate, announce, serverNow, selection }) {
  const root = byId("job-list");
  const button = byId("new-jobs");
  /** @type {HTMLElement|null} The latest answer, until it is shown completely. */
  let waiting = null;

  button.addEventListener("click", () => {
    show();
    scrollTo({ top: 0 });
    root.querySelector(".job-link")?.focus();
  });
  tick();
  return { take, tick };

  function take(body) {
    const table = root.querySelector("tbody");
    if (!table || !body.querySelector("tbody")) {
      if (root.innerHTML !== body.innerHTML) root.replaceChildren(...body.childNodes);
      waiting = null;
    } else {
      waiting = body;
      changeInPlace(table);
      if (!isInUse()) show();
    }
    drawButton();
    tick();
    selection.changed(); // also of rows that change in place
  }

  function isInUse() {
    const isHovered = hasHover.matches && root.matches(":hover");
    return scrollY > TOP_PX || isHovered || root.contains(document.activeElement) || selection.size > 0;
  }

  /** Changes the rows that both have, and marks those that are no longer in the list. */
  function changeInPlace(table) {
    const fresh = keyed(waiting.querySelector("tbody"));
    const added = [...fresh.keys()].filter((id) => !rowOf(table, id)).length;
    let pushed = added; // new rows push the last ones to the next page
    for (const row of [...table.rows].reverse()) {
      const other = fresh.get(row.dataset.jobId);
      if (other) changeRow(row, other);
      else row.classList.toggle("gone", pushed-- <= 0);
      if (other) pushed = 0;
    }
  }

  /** Shows the latest answer: its rows in its order. */
  function show() {
    const table = root.querySelector("tbody");
    if (!waiting || !table) return;
    const kept = keyed(table);
    let added = 0;
    [...waiting.querySelector("tbody").rows].forEach((row, index) => {
      const known = kept.get(row.dataset.jobId);
      kept.delete(row.dataset.jobId);
      added += Number(!known);
      const shown = known ?? row;
      shown.classList.remove("gone");
      if (table.rows[index] !== shown) table.insertBefore(shown, table.rows[index] ?? null);
    });
    for (const row of kept.values()) row.remove();
    changePager();
    waiting = null;
    if (added) announce(translate("announce.new", { count: added }));
    selection.changed();
    drawButton();
  }

  function changePager() {
    const [old, now] = [root, waiting].map((each) => each.querySelector(".pager"));
    if (old && now) old.isEqualNode(now) || old.replaceWith(now);
    else if (old) old.remove();
    else if (now) root.append(now);
  }

  function drawButton() {
    const table = root.querySelector("tbody");
    const count = waiting && table ? [...waiting.querySelector("tbody").rows].filter((row) => !rowOf(table, row.dataset.jobId)).length : 0;
    button.hidden = count === 0;
    if (count) setText(button, translate("announce.new", { count }));
  }

  /** Keeps clocks and relative times current, and shows what waits as soon as the list is no longer read. */
  function tick() {
    const now = serverNow();
    for (const clock of root.querySelectorAll("[data-clock]")) setText(clock, formatDuration(now - Date.parse(clock.dataset.clock)));
    for (const time of root.querySelectorAll("time[data-since]")) {
      setText(time, translate("ago", { span: formatAge((now - Date.parse(time.dateTime)) / 1000) }));
    }
    if (waiting && !isInUse()) show();
  }
}

const keyed = (table) => new Map([...table.rows].map((row) => [row.dataset.jobId, row]));
const rowOf = (table, id) => table.querySelector(`tr[data-job-id="${CSS.escape(id)}"]`);

/** Replaces the cells that differ; equal cells keep the focus. */
function changeRow(kept, row) {
  if (kept.dataset.rowHash === row.dataset.rowHash) return;
  for (const name of ["rowHash", "status", "attempt"]) kept.dataset[name] = row.dataset[name];
  kept.toggleAttribute("data-may-change", row.hasAttribute("data-may-change"));
  [...row.cells].forEach((cell, index) => {
    const old = kept.cells[index];
    if (old.classList.contains("cell-select")) return;
    if (!old.contains(document.activeElement)) {
      const fresh = cell.cloneNode(true);
      const [bar, next] = [old, fresh].map((each) => each.querySelector("progress"));
      if (bar && next) {
        bar.value = next.value; // keeps the transition of the bar
        next.replaceWith(bar);
      }
      old.replaceWith(fresh);
    }
  });
}
