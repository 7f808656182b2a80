/**
 * The setting "keys of single characters" of this browser. Speech input produces single characters, too.
 */
const KEY = "job-events-keys";

/** @returns {boolean} Whether keys of single characters have actions outside of the focused element. */
export function keysEnabled() {
  try {
    return localStorage.getItem(KEY) !== "off";
  } catch {
    return true; // the browser refuses storage to the page
  }
}

/** Connects the setting to a checkbox. @param {HTMLInputElement} box */
export function connectKeysBox(box) {
  box.checked = keysEnabled();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, box.checked ? "on" : "off");
    } catch {
      box.checked = keysEnabled();
    }
  });
}
