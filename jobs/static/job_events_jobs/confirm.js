/**
 * Dialogs for confirmation. The form of the dialog has the method "dialog"; its buttons have values.
 */

/**
 * Opens a dialog. Closing it in any other way than by a button with a value answers "".
 * @param {HTMLDialogElement} dialog
 * @returns {Promise<string>} The value of the button.
 */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}
