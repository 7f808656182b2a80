/**
 * Keyboard: / search, J and K move, X selects, Enter opens, ? shows the keys. They can be switched off.
 */
import { keysEnabled } from "../job_events/keys.js";
import { createKeysDialog } from "./confirm.js";
import { byId } from "./elements.js";

export function createKeys() {
  const showKeys = createKeysDialog();
  document.addEventListener("keydown", (event) => {
    if (!keysEnabled() || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const action = { "/": search, j: () => move(1), k: () => move(-1), x: select, "?": showKeys }[event.key];
    if (!action || document.querySelector("dialog[open], :popover-open")) return;
    event.preventDefault();
    action();
  });
}

const links = () => [...document.querySelectorAll("#job-list .job-link")];
const isTyping = (target) => Boolean(target.closest?.("textarea, select, input:not([type=checkbox])"));

function search() {
  byId("id_q").focus();
  byId("id_q").select();
}

/** Moves the focus by rows; from elsewhere to the first row. */
function move(step) {
  const all = links();
  const at = all.findIndex((link) => link.closest("tr").contains(document.activeElement));
  all[at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + step))]?.focus();
}

function select() {
  document.activeElement.closest("#job-list tbody tr")?.querySelector(".cell-select input").click();
}
