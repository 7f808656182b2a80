/**
 * The setting "keys of single characters" of this browser. Speech input produces single characters, too.
 */
import { readStored, writeStored } from "./storage.js";

const KEY = "job-events-keys";

/** @returns {boolean} Whether keys of single characters have actions outside of the focused element. */
export const keysEnabled = () => readStored(KEY) !== "off";

/** Connects the setting to a checkbox. @param {HTMLInputElement} box */
export function connectKeysBox(box) {
  box.checked = keysEnabled();
  box.addEventListener("change", () => {
    writeStored(KEY, box.checked ? "on" : "off");
    box.checked = keysEnabled(); // the browser may refuse storage
  });
}
