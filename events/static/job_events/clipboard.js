/** Copies a text. @param {string} text @returns {Promise<boolean>} Whether it was copied: the browser may refuse. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text); // no clipboard: the page is not in a secure context
  }
}

function copySelected(text) {
  const field = document.createElement("textarea");
  const focused = /** @type {HTMLElement|null} */ (document.activeElement);
  Object.assign(field, { value: text, readOnly: true });
  Object.assign(field.style, { position: "fixed", opacity: "0" });
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return isCopied;
}
