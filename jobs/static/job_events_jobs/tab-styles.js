/**
 * Styles of the tabs Events, Conversation, Result and Input, as a style sheet that is loaded with them.
 */
import { adoptStyles } from "../job_events/style-sheets.js";
import { addQuestionStyles } from "./question-styles.js";

const CSS = `
.event-tools { justify-self: stretch; position: sticky; inset-block-start: var(--job-events-sticky, 0px); z-index: 3; display: grid; gap: 0.4rem; padding-block: 0.5rem; background: var(--bg); }
.event-tools-line, .event-tools .chips { display: flex; flex-wrap: wrap; align-items: center; gap: 0.4rem; min-width: 0; }
.event-tools input[type="search"] { flex: 1 1 12rem; width: auto; min-width: 8rem; max-width: 26rem; min-height: 2rem; padding: 0.2rem 0.6rem; font-size: 0.875rem; }
.event-tools select { width: auto; min-height: 2rem; padding: 0.2rem 0.5rem; font-size: 0.875rem; }
.event-tools .chip { gap: 0.4rem; max-width: 100%; min-height: 1.75rem; padding: 0 0.65rem; font: inherit; font-size: 0.8125rem; cursor: pointer; }
.event-tools .chip[aria-pressed="true"] { border-color: var(--accent); background: var(--accent-wash); box-shadow: inset 0 0 0 1px var(--accent); font-weight: 600; }
.event-tools .chip-errors { color: var(--failed); }
.event-tools .chip-errors[aria-pressed="true"] { border-color: var(--failed); background: var(--failed-wash); box-shadow: inset 0 0 0 1px var(--failed); }
.chip-label { max-width: 14rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.chip-count { color: var(--soft); font-variant-numeric: tabular-nums; }
.event-note:empty { display: none; }
.event-note { font-size: 0.8125rem; }

.event-layout { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1rem; align-items: start; }
.event-list { position: relative; display: grid; grid-template-columns: minmax(0, 1fr); justify-items: start; min-width: 0; }
.event-list > .button { margin-block: 0.4rem; }
.event-rows { justify-self: stretch; contain: layout; overflow: clip; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); font-size: 0.8125rem; }
.event-row { position: absolute; inset-inline: 0; inset-block-start: 0; height: 28px; contain: layout style; }
.event-link { display: grid; grid-template-columns: 6rem 4.2rem minmax(5rem, 11rem) minmax(0, 1fr); gap: 0.75rem; align-items: center; height: 28px; padding-inline: 0.65rem; color: var(--ink); text-decoration: none; white-space: nowrap; }
.event-link > span { overflow: hidden; text-overflow: ellipsis; }
.event-link:hover { background: var(--sunken); color: var(--ink); }
.event-link:focus-visible { outline-offset: -2px; }
.event-link[aria-current] { background: var(--accent-wash); box-shadow: inset 3px 0 var(--accent); }
[dir="rtl"] .event-link[aria-current] { box-shadow: inset -3px 0 var(--accent); }
.event-rows:not([data-levels]) .event-level { display: none; }
.event-rows:not([data-levels]) .event-link { grid-template-columns: 6rem minmax(5rem, 11rem) minmax(0, 1fr); }
.event-clock { color: var(--soft); font-family: var(--mono); font-size: 0.75rem; }
.event-level { font-size: 0.75rem; font-weight: 600; color: var(--soft); }
.event-type { font-weight: 600; }
.event-gist { color: var(--soft); }
.event-row[data-level="info"] .event-level { color: var(--running); }
.event-row[data-level="warning"] .event-level { color: light-dark(#7d5200, #e8bb5b); }
.event-row:is([data-level="error"], [data-level="critical"]) :is(.event-level, .event-type) { color: var(--failed); }
.event-row[data-level="critical"] .event-level { text-transform: uppercase; }
.event-row:is([data-level="error"], [data-level="critical"]) .event-link:not([aria-current]) { box-shadow: inset 3px 0 var(--failed); }
.event-divider { display: block; height: 28px; padding-inline: 0.65rem; background: var(--sunken); font-size: 0.75rem; font-weight: 600; line-height: 28px; }
.event-status { padding-block: 0.5rem; }
.to-latest { position: sticky; inset-block-end: 1rem; justify-self: center; border-color: var(--accent); box-shadow: 0 2px 10px rgb(0 0 0 / 18%); }

.event-details { min-width: 0; padding: 0.8rem 1rem 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); overflow-wrap: anywhere; }
.event-details header { display: flex; gap: 0.75rem; align-items: start; justify-content: space-between; }
.event-details header > * { min-width: 0; }
.event-facts { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 0.15rem 1rem; margin-block: 0.6rem; font-size: 0.8125rem; }
.event-facts dt { color: var(--soft); }
.event-facts dd { margin: 0; }
.event-actions { display: flex; flex-wrap: wrap; gap: 0.4rem; margin-block-start: 0.8rem; }
@media (min-width: 62rem) {
  .event-layout[data-selected] { grid-template-columns: minmax(0, 1fr) minmax(20rem, 27rem); }
  .event-details { position: sticky; inset-block-start: calc(var(--job-events-sticky, 0px) + 0.5rem); max-height: calc(100vh - var(--job-events-sticky, 0px) - 1rem); overflow: auto; z-index: 4; }
}
@media (max-width: 61.99rem) {
  .event-details { position: fixed; inset-inline: 0; inset-block-end: 0; z-index: 8; max-height: 60vh; overflow: auto; border-radius: 12px 12px 0 0; box-shadow: 0 -4px 24px rgb(0 0 0 / 25%); }
}
@media (max-width: 48rem) {
  .event-tools { position: static; }
  .event-rows .event-link, .event-rows:not([data-levels]) .event-link { grid-template-columns: 5.4rem minmax(4rem, 7.5rem) minmax(0, 1fr); gap: 0.5rem; padding-inline: 0.5rem; }
  .event-rows .event-level { display: none; }
}

.ansi-bold { font-weight: 700; }
.ansi-italic { font-style: italic; }
.ansi-underline { text-decoration: underline; }
.ansi-fg { color: color-mix(in oklab, var(--ansi-color) 45%, var(--ink)); }
.ansi-bg { background: color-mix(in oklab, var(--ansi-background) 18%, var(--panel)); color: var(--ink); }
.ansi-red-fg, .ansi-bright-red-fg { --ansi-color: #d00; } .ansi-red-bg, .ansi-bright-red-bg { --ansi-background: #d00; }
.ansi-green-fg, .ansi-bright-green-fg { --ansi-color: #0a0; } .ansi-green-bg, .ansi-bright-green-bg { --ansi-background: #0a0; }
.ansi-yellow-fg, .ansi-bright-yellow-fg { --ansi-color: #b90; } .ansi-yellow-bg, .ansi-bright-yellow-bg { --ansi-background: #b90; }
.ansi-blue-fg, .ansi-bright-blue-fg { --ansi-color: #24f; } .ansi-blue-bg, .ansi-bright-blue-bg { --ansi-background: #24f; }
.ansi-magenta-fg, .ansi-bright-magenta-fg { --ansi-color: #c0c; } .ansi-magenta-bg, .ansi-bright-magenta-bg { --ansi-background: #c0c; }
.ansi-cyan-fg, .ansi-bright-cyan-fg { --ansi-color: #0aa; } .ansi-cyan-bg, .ansi-bright-cyan-bg { --ansi-background: #0aa; }
.ansi-black-fg, .ansi-bright-black-fg, .ansi-white-fg, .ansi-bright-white-fg { --ansi-color: var(--soft); }
.ansi-black-bg, .ansi-bright-black-bg, .ansi-white-bg, .ansi-bright-white-bg { --ansi-background: var(--edge); }

.conversation { display: grid; justify-items: start; gap: 0.75rem; max-width: 56rem; margin-inline: auto; padding-block: 0.75rem; }
.conversation-turns { display: grid; gap: 0.75rem; justify-self: stretch; min-width: 0; }
.turn { content-visibility: auto; contain-intrinsic-size: auto 5rem; min-width: 0; padding: 0.6rem 0.9rem; border: 1px solid var(--line); border-radius: 10px; background: var(--panel); overflow-wrap: anywhere; }
.turn-head { display: flex; flex-wrap: wrap; gap: 0.2rem 0.6rem; align-items: baseline; font-size: 0.8125rem; color: var(--soft); }
summary > .turn-head { display: inline-flex; vertical-align: top; inline-size: calc(100% - 1.5em); }
.turn-head strong { color: var(--ink); }
.turn-head time { margin-inline-start: auto; font-family: var(--mono); font-size: 0.75rem; }
.turn-path { overflow-wrap: anywhere; }
.turn-text { margin-block-start: 0.3rem; white-space: pre-wrap; }
.turn[data-kind="answer"] { border-inline-start: 3px solid var(--accent); }
.turn[data-kind="tool"], .turn[data-kind="prompt"], .turn[data-kind="reasoning"] { background: var(--sunken); }
.turn[data-kind="tool"] { margin-inline-start: clamp(0rem, 4vw, 2rem); }
.turn[data-kind="error"], .turn[data-failed] { border-inline-start: 3px solid var(--failed); }
.turn[data-kind="error"] .turn-text, .turn-bad { color: var(--failed); }
.turn[data-kind="question"] { border-inline-start: 3px solid var(--cancelled); }
.turn summary { cursor: pointer; font-size: 0.8125rem; }
.turn-label { margin-block: 0.5rem 0.15rem; font-size: 0.8125rem; color: var(--soft); }
.turn-role { margin-block-start: 0.4rem; font-weight: 600; font-size: 0.8125rem; }
.turn .json-text { margin-block-end: 0; }

.data-tab { display: grid; gap: 0.75rem; padding-block: 0.75rem; min-width: 0; }
.data-tab .json-tree, .data-tab > .json-text { padding: 0.8rem 1rem; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); }
.data-actions { display: flex; flex-wrap: wrap; gap: 0.4rem; }
`;

/** Adds the styles to the page. */
export function addTabStyles() {
  addQuestionStyles();
  adoptStyles(document, CSS);
}
