/**
 * Dialogs for confirmation, and the list of keys. The form of the dialog has the method "dialog"; its buttons have values.
 */
import { connectKeysBox } from "../job_events/keys.js";
import { byId } from "./elements.js";

/**
 * Opens a dialog. Closing it in any other way than by a button with a value answers "".
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<string>} The value of the button.
 */
export function openDialog(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Connects the dialog of the keys. @returns {() => Promise<string>} Opens it. */
export function createKeysDialog() {
  const open = () => openDialog(byId("keys-dialog"));
  connectKeysBox(byId("keys-enabled"));
  byId("keys-open").addEventListener("click", open);
  return open;
}
