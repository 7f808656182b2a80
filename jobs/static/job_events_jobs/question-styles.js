/**
 * Styles of questions and their prompts, as a style sheet that is loaded with them.
 */
import { jsonTreeStyles } from "../job_events/json-tree.js";
import { adoptStyles } from "../job_events/style-sheets.js";

const CSS = `
.question-area { display: grid; gap: var(--gap); grid-template-columns: minmax(0, 1fr); }
.question { display: grid; gap: 0.6rem; grid-template-columns: minmax(0, 1fr); justify-items: stretch; }
.question textarea { min-height: 4.5rem; max-width: 48rem; }
.question-choices { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; padding-block: 0.5rem; }
.question-choices .button { max-width: 100%; white-space: normal; overflow-wrap: anywhere; }
.question-choices[data-sticky] { position: sticky; inset-block-end: 0; z-index: 5; border-block-start: 1px solid var(--line); background: var(--panel); }
.question-json { display: inline-flex; gap: 0.4rem; align-items: center; font-size: 0.875rem; }
.question .field-problem:empty, .questions:not([data-readonly]) .question-readonly { display: none; }
.field-problem { color: var(--failed); }
.questions[data-readonly] :is(textarea, .question-choices) { display: none; }
.prompt { display: grid; gap: 0.5rem; justify-items: start; grid-template-columns: minmax(0, 1fr); overflow-wrap: anywhere; }
.prompt > .json-tree, .prompt-parts, .question-text { justify-self: stretch; min-width: 0; }
.question-text { margin: 0; font-weight: 600; white-space: pre-wrap; }
.question-text .json-text { font-weight: 400; }
.prompt-parts { display: grid; grid-template-columns: minmax(0, 1fr); margin: 0; }
.prompt-parts dt { margin-block-start: 0.5rem; color: var(--soft); font-size: 0.8125rem; font-weight: 600; text-align: start; }
.prompt-parts dd { min-width: 0; margin: 0; white-space: pre-wrap; text-align: start; }
.prompt-parts dd > :is(.json-tree, .difference, div) { white-space: normal; }
.prompt .json-text { max-width: 52rem; font: 0.9375rem/1.55 var(--sans); white-space: pre-wrap; }
.difference { max-width: 52rem; padding: 0.4rem 0; border: 1px solid var(--line); border-radius: 8px; font: 0.8125rem/1.6 var(--mono); }
.difference-line { display: flex; gap: 0.75ch; padding-inline: 0.7em; }
.difference-line > :last-child { flex: 1; min-width: 0; white-space: pre-wrap !important; overflow-wrap: anywhere; text-decoration: none; }
.difference-sign { flex: none; inline-size: 1ch; user-select: none; white-space: pre; }
.difference-line[data-sign="-"] { background: var(--failed-wash); }
.difference-line[data-sign="+"] { background: var(--completed-wash); }
.answered { padding: 0.6rem 1.25rem; }
.answered > summary { cursor: pointer; font-weight: 600; }
.answer { display: grid; grid-template-columns: minmax(0, 1fr); gap: 0.35rem; padding-block: 0.75rem; }
.answer + .answer { border-block-start: 1px solid var(--line); }
${jsonTreeStyles}`;

export const addQuestionStyles = () => adoptStyles(document, CSS);
