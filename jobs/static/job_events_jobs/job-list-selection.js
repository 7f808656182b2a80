/**
 * Selection of jobs, and actions on the selected ones: one request after another, with the result of each.
 */
import { openDialog } from "./confirm.js";
import { byId, element, setText } from "./elements.js";
import { save } from "./files.js";
import { postJson } from "./post.js";

/** The statuses from which an action is possible; the server decides. */
const POSSIBLE = { cancel: ["pending", "running"], retry: ["failed", "cancelled"] };

/** @returns {{size: number, clear(): void, changed(): void}} */
export function createSelection({ config, translate, announce, refresh }) {
  const root = byId("job-list");
  const dialog = byId("bulk-dialog");
  let anchor = null; // the row of the last click, where a range begins
  let isStopped = false;

  const boxes = () => [...root.querySelectorAll("tbody .cell-select input")];
  const rowOf = (box) => box.closest("tr");
  const selected = () => boxes().filter((box) => box.checked).map(rowOf);
  const titleOf = (row) => row.querySelector(".job-link").textContent;
  const isPossible = (action) => (row) =>
    action === "export" || (row.hasAttribute("data-may-change") && POSSIBLE[action].includes(row.dataset.status));

  root.addEventListener("click", (event) => {
    const box = event.target.closest?.("input[type=checkbox]");
    if (!box) return;
    if (box.id === "select-all") boxes().forEach((each) => (each.checked = box.checked));
    else if (event.shiftKey && anchor?.isConnected) selectRange(box);
    if (box.id !== "select-all") anchor = rowOf(box);
    changed();
  });
  for (const action of ["cancel", "retry", "export"]) byId(`bulk-${action}`).addEventListener("click", () => start(action));
  byId("bulk-clear").addEventListener("click", clear);
  changed(); // a browser restores checked boxes
  return { get size() { return selected().length; }, clear, changed };

  function selectRange(box) {
    const all = boxes();
    const [from, to] = [all.findIndex((each) => rowOf(each) === anchor), all.indexOf(box)].sort((one, other) => one - other);
    for (const each of all.slice(Math.max(0, from), to + 1)) each.checked = box.checked;
  }

  function clear() {
    boxes().forEach((box) => (box.checked = false));
    changed();
  }

  function changed() {
    const rows = selected();
    const all = boxes();
    for (const box of all) rowOf(box).toggleAttribute("data-selected", box.checked);
    const head = byId("select-all");
    if (head) {
      head.checked = all.length > 0 && rows.length === all.length;
      head.indeterminate = rows.length > 0 && !head.checked;
    }
    byId("bulk").hidden = rows.length === 0;
    setText(byId("bulk-count"), translate("bulk.count", { count: rows.length }));
    for (const action of ["cancel", "retry"]) byId(`bulk-${action}`).disabled = !rows.some(isPossible(action));
  }

  async function start(action) {
    const rows = selected();
    const jobs = rows.filter(isPossible(action)).map((row) => ({ id: row.dataset.jobId, attempt: Number(row.dataset.attempt), title: titleOf(row) }));
    if (!jobs.length) return;
    if (action !== "export") {
      showQuestion(action, jobs.length, rows.length - jobs.length);
      if ((await openDialog(dialog)) !== "yes") return;
    }
    await run(action, jobs);
  }

  function showQuestion(action, count, others) {
    setText(byId("bulk-title"), translate(`bulk.${action}.question`, { count }));
    const note = others ? ` ${translate("bulk.others", { count: others })}` : "";
    setText(byId("bulk-text"), translate(`bulk.${action}.text`) + note);
    setText(byId("bulk-close"), translate("bulk.no"));
    setText(byId("bulk-go"), translate(`bulk.${action}`));
    byId("bulk-go").className = `button ${action === "cancel" ? "button-danger" : "button-primary"}`;
    for (const id of ["bulk-progress", "bulk-results"]) byId(id).hidden = true;
    byId("bulk-go").hidden = false;
  }

  /** Sends the requests and keeps the dialog open until the user has seen what was refused. */
  async function run(action, jobs) {
    const refused = [];
    const parts = [];
    showProgress(action, jobs.length);
    const closed = openDialog(dialog).then(() => (isStopped = true));
    let done = 0;
    for (const job of jobs) {
      if (isStopped) break;
      const { text, body } = await send(action, job);
      if (text) refused.push({ ...job, text });
      if (body) parts.push(body);
      done += 1;
      byId("bulk-progress").value = done;
      setText(byId("bulk-text"), translate("bulk.progress", { done, count: jobs.length }));
    }
    // One file: each line contains the id of its job.
    if (parts.length && !isStopped) save(new Blob(parts, { type: "application/x-ndjson" }), "job-events.ndjson");
    showResult(action, done, jobs.length, refused);
    refresh();
    if (!refused.length && dialog.open) dialog.close();
    await closed;
    if (!refused.length && done === jobs.length) clear();
  }

  function showProgress(action, count) {
    isStopped = false;
    setText(byId("bulk-title"), translate(`bulk.${action}.running`));
    setText(byId("bulk-text"), translate("bulk.progress", { done: 0, count }));
    Object.assign(byId("bulk-progress"), { max: count, value: 0, hidden: false });
    byId("bulk-results").hidden = true;
    byId("bulk-go").hidden = true;
    setText(byId("bulk-close"), translate("bulk.stop"));
  }

  function showResult(action, done, count, refused) {
    const text = translate("bulk.result", { done: done - refused.length, refused: refused.length, rest: count - done });
    setText(byId("bulk-title"), translate(`bulk.${action}.done`));
    setText(byId("bulk-text"), text);
    byId("bulk-progress").hidden = true;
    byId("bulk-results").replaceChildren(
      ...refused.map((job) => element("li", {}, element("strong", { dir: "auto" }, job.title), " ", element("span", { dir: "auto" }, job.text))),
    );
    byId("bulk-results").hidden = refused.length === 0;
    setText(byId("bulk-close"), translate("bulk.close"));
    announce(text);
  }

  /** @returns {Promise<{text?: string, body?: Blob}>} Why the server refused; the export. */
  async function send(action, { id, attempt }) {
    if (action === "export") return download(`${config.apiUrl}${id}/events/export/?format=ndjson`);
    const { isDone, status, detail } = await postJson(`${config.apiUrl}${id}/${action}/`, { attempt }, config.csrfHeader);
    return isDone ? {} : { text: refusalText(status, detail) };
  }

  async function download(url) {
    try {
      const answer = await fetch(url);
      if (answer.ok) return { body: await answer.blob() };
      const problem = await answer.json().catch(() => null);
      return { text: refusalText(answer.status, problem?.detail) };
    } catch {
      return { text: refusalText(0) };
    }
  }

  function refusalText(status, detail) {
    return detail ?? (status ? `HTTP ${status}` : translate("bulk.failed"));
  }
}
