/**
 * Saving of files by the browser.
 */
import { element } from "./elements.js";

const KEPT_MS = 60_000;

/** @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
