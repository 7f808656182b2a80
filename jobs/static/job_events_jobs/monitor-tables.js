/**
 * Tables of the monitor. A table that is being read keeps the order of its rows: below the pointer, or with the focus.
 */
import { element, setText } from "./elements.js";
import { formatQuantity } from "./monitor-format.js";
import { formatAge, formatTime } from "./page-text.js";

/** A time as "3 min ago"; `tick` keeps the text current. */
export function timeAgo(iso) {
  if (!iso) return "–";
  return element("time", { datetime: iso, "data-span": "", title: formatTime(Date.parse(iso)) });
}

/** Updates the texts of all times. @param {number} now Milliseconds by the server's clock. */
export function tick(now, translate) {
  for (const node of document.querySelectorAll("time[data-span]")) {
    setText(node, translate("ago", { span: formatAge((now - Date.parse(node.dateTime)) / 1000) }));
  }
}

const state = (value, label) => element("span", { class: "state", "data-state": value }, label);
const code = (text) => element("code", { dir: "auto" }, text);
const jobLink = (url, text, hash = "") =>
  url ? element("a", { href: url + hash, dir: "auto" }, text) : element("span", { dir: "auto" }, text);

/**
 * @param {(name: string, values?: Record<string, any>) => string} translate
 * @returns {(statistics: Record<string, any>) => void} Draws all tables.
 */
export function createTables(translate) {
  const button = (action, row, style) =>
    element(
      "button",
      {
        class: `button button-small ${style}`,
        type: "button",
        "data-action": action,
        "data-job-id": row.job_id,
        "data-attempt": row.attempt,
        "data-title": row.title ?? row.job_id,
        "aria-label": `${translate(`action.${action}`)}: ${row.title ?? row.job_id}`,
      },
      translate(`action.${action}`),
    );
  const column = (name, cell, kind = "") => ({ label: translate(`column.${name}`), cell, kind });

  const failing = new Table("failing", translate, ({ task_type }) => task_type, [
    column("type", (row) => code(row.task_type)),
    column("ended", (row) => formatQuantity(row.ended, "count"), "num"),
    column("failed", (row) => formatQuantity(row.failed, "count"), "num"),
    column("rate", (row) => rate(row.rate), "num"),
    column("error", (row) => (row.job_id ? jobLink(row.url, row.last_error || row.job_id) : "–"), "text"),
    column("actions", (row) => (row.may_retry ? button("retry", row, "") : ""), "actions"),
  ]);

  function rate(value) {
    const bar = element("span", { class: "bar" });
    bar.style.setProperty("--share", value.toFixed(3));
    return element("span", {}, bar, ` ${formatQuantity(value, "share")}`);
  }

  const STATES = { stuck: "critical", quiet: "warning", waiting: "unknown" };
  const jobs = new Table("jobs", translate, (row) => `${row.state} ${row.job_id}`, [
    column("state", (row) => state(STATES[row.state], translate(`state.${row.state}`))),
    column("job", (row) => element("span", {}, jobLink(row.url, row.title), " ", code(row.task_type)), "text"),
    column("since", (row) => timeAgo(row.since)),
    column("last_event", (row) => timeAgo(row.last_event_at)),
    column("heartbeat", (row) => timeAgo(row.heartbeat_at)),
    column("worker", (row) => (row.worker ? code(row.worker) : "–")),
    column("actions", jobActions, "actions"),
  ]);

  function jobActions(row) {
    const actions = element("span", { class: "row-actions" });
    if (row.state === "waiting" && row.url) {
      const label = `${translate("action.answer")}: ${row.title}`;
      actions.append(element("a", { class: "button button-small", href: `${row.url}#questions`, "aria-label": label }, translate("action.answer")));
    }
    if (row.may_change) actions.append(button("cancel", row, "button-danger"));
    return actions;
  }

  const alerts = new Table("alerts", translate, ({ id }) => id, [
    column("state", (row) => state(row.state === "firing" ? "critical" : "warning", translate(`state.${row.state}`))),
    column("rule", (row) => code(row.rule)),
    column("alert", (row) => element("span", { dir: "auto" }, row.summary || row.subject), "text"),
    column("since", (row) => timeAgo(row.fired_at ?? row.pending_at)),
    column("value", (row) => formatQuantity(row.value, "rate"), "num"),
  ]);

  const deliveries = new Table("deliveries", translate, ({ id }) => id, [
    column("channel", (row) => code(row.channel)),
    column("rule", (row) => code(row.rule)),
    column("attempts", (row) => formatQuantity(row.attempts, "count"), "num"),
    column("next", (row) => (row.next_at ? element("time", { datetime: row.next_at }, formatTime(Date.parse(row.next_at))) : translate("delivery.given_up"))),
    column("error", (row) => element("span", { dir: "auto" }, row.error), "text"),
  ]);

  const WORKER_STATES = { alive: "ok", late: "critical", unknown: "unknown" };
  const workers = new Table("workers", translate, ({ name }) => name, [
    column("state", (row) => state(WORKER_STATES[row.state], translate(`worker.${row.state}`))),
    column("worker", (row) => code(row.name || "–"), "text"),
    column("tasks", (row) => formatQuantity(row.tasks, "count"), "num"),
    column("oldest_heartbeat", (row) => timeAgo(row.heartbeat_at)),
  ]);

  return function draw(statistics) {
    failing.draw(statistics.failing);
    jobs.draw([...statistics.stuck, ...statistics.waiting]);
    alerts.draw(statistics.alerts ?? []);
    deliveries.draw(statistics.deliveries ?? [], true);
    workers.draw(statistics.workers ?? []);
  };
}

/** With roles: on a phone, rows and cells are blocks, which have none by themselves. */
class Table {
  constructor(id, translate, keyOf, columns) {
    this.parent = document.getElementById(id);
    this.keyOf = keyOf;
    this.columns = columns;
    this.empty = element("p", { class: "empty" }, translate(`empty.${id}`));
    this.body = element("tbody", { role: "rowgroup" });
    const heads = columns.map(({ label, kind }) => element("th", { role: "columnheader", scope: "col", class: kind }, label));
    const head = element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...heads));
    const caption = element("caption", { class: "visually-hidden" }, translate(`table.${id}`));
    this.table = element("table", { class: "figures", role: "table" }, caption, head, this.body);
  }

  /** `isOptional`: without rows, nothing is shown. */
  draw(rows, isOptional = false) {
    const isInUse = this.parent.matches(":hover, :focus-within");
    const known = new Map([...this.body.rows].map((row) => [row.dataset.key, row]));
    const drawn = rows.map((row) => this.drawRow(known, row));
    for (const node of known.values()) {
      if (isInUse) node.classList.add("gone");
      else node.remove();
    }
    if (isInUse) this.body.append(...drawn.filter((node) => !node.isConnected));
    else drawn.forEach((node, index) => this.body.rows[index] !== node && this.body.insertBefore(node, this.body.rows[index] ?? null));
    const shown = this.body.rows.length ? this.table : this.empty;
    if (isOptional && shown === this.empty) this.parent.replaceChildren();
    else if (this.parent.firstChild !== shown) this.parent.replaceChildren(shown);
  }

  /** Returns the row, with the cells that differ replaced; the one with the focus stays. */
  drawRow(known, row) {
    const key = String(this.keyOf(row));
    const kept = known.get(key) ?? element("tr", { role: "row", "data-key": key });
    known.delete(key);
    kept.classList.remove("gone");
    this.columns.forEach(({ cell, kind, label }, index) => {
      const fresh = element("td", { role: "cell", class: kind, "data-label": label }, cell(row));
      const old = kept.cells[index];
      if (!old) kept.append(fresh);
      else if (!isSame(old, fresh) && !old.contains(document.activeElement)) old.replaceWith(fresh);
    });
    return kept;
  }
}

/** Compares nodes apart from the texts of times, which `tick` writes. */
export function isSame(old, fresh) {
  const copy = old.cloneNode(true);
  for (const node of copy.querySelectorAll("time[data-span]")) node.textContent = "";
  return copy.isEqualNode(fresh);
}
