/**
 * Buttons that copy a text.
 */
import { copyText } from "../job_events/clipboard.js";
import { setText } from "./elements.js";

const COPIED_MS = 2_000;

/** Copies a text, announces the result, and shows it on the button for a moment. */
export async function copyFrom(button, text, { translate, announce }) {
  button.dataset.label ??= button.textContent;
  setText(button, translate((await copyText(text)) ? "copied" : "copy.failed"));
  announce(button.textContent);
  setTimeout(() => setText(button, button.dataset.label), COPIED_MS);
}
