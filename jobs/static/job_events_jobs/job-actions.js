/**
 * Buttons and keys of the run page: copy, export, run again, cancel, and the list of keys.
 */
import { keysEnabled } from "../job_events/keys.js";
import { createKeysDialog, openDialog } from "./confirm.js";
import { copyFrom } from "./copy-button.js";
import { byId, setText } from "./elements.js";
import { moneyText } from "./job-head.js";
import { formatNumber } from "./page-text.js";
import { postJson } from "./post.js";
import { TABS } from "./tabs.js";

const FIELDS = "input, textarea, select, [contenteditable]";

/** @param {Object} page  @param {import("./tabs.js").Tabs} tabs */
export function createActions(page, tabs) {
  const { translate } = page;
  byId("copy-link").addEventListener("click", (click) => copyFrom(click.currentTarget, location.href, page));
  byId("copy-id").addEventListener("click", (click) => copyFrom(click.currentTarget, page.config.jobId, page));
  byId("cancel-form")?.addEventListener("submit", cancel);
  byId("retry-form")?.addEventListener("submit", retry);
  createMenu(byId("export"), () => showExports(page));
  const showKeys = createKeysDialog();
  document.addEventListener("keydown", pressKey);

  /** Cancels after a confirmation, without leaving the page; the log then contains the cancellation. */
  async function cancel(submit) {
    submit.preventDefault();
    const { attempt } = page.model;
    byId("cancel-terminate").checked = false;
    if ((await openDialog(byId("cancel-dialog"))) !== "yes") return;
    const { jobUrl, csrfHeader } = page.config;
    const fields = { attempt, terminate: byId("cancel-terminate").checked };
    const { isDone, detail } = await postJson(`${jobUrl}cancel/`, fields, csrfHeader);
    setText(byId("action-problem"), isDone ? "" : (detail ?? translate("action.failed")));
    byId("action-problem").hidden = isDone;
  }

  /** Asks before a run that may cost as much as the last ones: the models' calls are what is paid for. */
  async function retry(submit) {
    const calls = page.model.modelCalls;
    submit.target.elements.namedItem("attempt").value = page.model.attempt;
    if (!calls) return;
    submit.preventDefault();
    const { tokens } = page.model;
    const count = tokens ? formatNumber(tokens.input + tokens.output) : translate("tokens.unknown");
    const cost = moneyText(page);
    const texts = [translate("retry.used", { calls: formatNumber(calls), tokens: count })];
    if (cost) texts.push(translate("retry.cost", { cost }));
    setText(byId("retry-text"), texts.join(" "));
    if ((await openDialog(byId("retry-dialog"))) === "yes") submit.target.submit();
  }

  function pressKey(press) {
    const isTyping = press.target.closest?.(FIELDS) && press.target.type !== "range";
    if (press.ctrlKey || press.metaKey || press.altKey || isTyping || document.querySelector("dialog[open]")) return;
    if (!keysEnabled()) return;
    const tab = TABS[Number(press.key) - 1];
    if (tab) tabs.open(tab);
    else if (press.key === "?") showKeys();
    // The timeline has a search of its own.
    else if (press.key === "/" && tabs.current !== "timeline") search(press);
  }

  async function search(press) {
    press.preventDefault();
    await tabs.open("events");
    byId("panel-events").querySelector("input[type=search]")?.focus();
  }
}

/** Closes a menu like those of the system: by Escape, a click elsewhere, and a choice. */
function createMenu(menu, onOpen) {
  const close = () => (menu.open = false);
  menu.addEventListener("toggle", () => menu.open && onOpen());
  menu.addEventListener("click", (click) => click.target.closest("a") && close());
  document.addEventListener("click", (click) => menu.contains(click.target) || close());
  menu.addEventListener("keydown", (press) => {
    if (press.key !== "Escape" || !menu.open) return;
    close();
    menu.querySelector("summary").focus();
  });
}

/** Offers the events that the filter of the tab Events selects, if there is one. */
function showExports({ url }) {
  const filters = new URLSearchParams();
  for (const type of url.all("type")) filters.append("event_type", type);
  if (url.get("q")) filters.set("search", url.get("q"));
  for (const link of byId("export").querySelectorAll("[data-format]")) {
    link.parentElement.hidden = !filters.size;
    const query = new URLSearchParams(filters);
    if (link.dataset.format) query.set("format", link.dataset.format);
    link.search = `?${query}`;
  }
}
