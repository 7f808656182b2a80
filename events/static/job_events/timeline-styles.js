/**
 * Styles of the timeline and the inspector. Colours, fonts and radii are custom properties of the host page.
 */
import { adoptStyles } from "./style-sheets.js";

const CSS = `
.job-events-timeline, .job-events-inspector {
  --t-ink: var(--job-events-ink, light-dark(#1f1e1b, #e9e7e3));
  --t-soft: var(--job-events-soft, light-dark(#615d55, #a6a8aa));
  --t-panel: var(--job-events-panel, light-dark(#fff, #1c1e21));
  --t-sunken: var(--job-events-sunken, light-dark(#f3f1ed, #232629));
  --t-line: var(--job-events-line, light-dark(#e3e0d9, #2f3337));
  --t-edge: var(--job-events-edge, light-dark(#8b867c, #7d8289));
  --t-accent: var(--job-events-accent, light-dark(#0b6b61, #5ec9b8));
  --t-wash: var(--job-events-accent-wash, light-dark(#e2f0ed, #183430));
  --t-failed: var(--job-events-failed, light-dark(#a9271d, #f39a8f));
  --t-failed-wash: var(--job-events-failed-wash, light-dark(#fbe9e6, #412220));
  --t-handled: var(--job-events-handled, light-dark(#7d5200, #e8bb5b));
  --t-handled-wash: var(--job-events-handled-wash, light-dark(#fbf0d5, #3b2f14));
  --t-running: var(--job-events-running, light-dark(#1c5aa8, #8bbcf5));
  --t-running-wash: var(--job-events-running-wash, light-dark(#e4eefa, #1a2c43));
  --t-waiting: var(--job-events-waiting, light-dark(#6a4a8c, #c7abe6));
  --t-on-kind: light-dark(#fff, #15171a);
  --t-radius: var(--job-events-radius, 6px);
  --t-mono: var(--job-events-mono, ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace);
  --sticky: var(--job-events-sticky, 0px);
  box-sizing: border-box; min-width: 0; color: var(--t-ink); text-align: start;
  font: 400 0.8125rem/1.45 var(--job-events-sans, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif);
  * { box-sizing: border-box; }
  [hidden] { display: none !important; }
  button { color: inherit; font: inherit; cursor: pointer; }
  :focus-visible { outline: 2px solid var(--t-accent); outline-offset: 1px; }
  [data-kind] { --kind: light-dark(#5a554e, #aaa59b); }
  [data-kind=node] { --kind: light-dark(#45658a, #9db9d6); }
  [data-kind=model] { --kind: light-dark(#7048ab, #bfa3e6); }
  [data-kind=tool] { --kind: light-dark(#0f6e7d, #6cc3cf); }
  [data-kind=retriever] { --kind: light-dark(#3d5a1f, #a9c97c); }
  [data-kind=span], [data-kind=phase] { --kind: light-dark(#3b6aa3, #8fb6e6); }
  [data-kind=errors] { --kind: var(--t-failed); }
  .kind {
    display: inline-grid; flex: none; place-items: center; inline-size: 17px; block-size: 17px; border-radius: 4px;
    background: var(--kind); color: var(--t-on-kind); font-size: 0.6875rem; font-weight: 700; line-height: 1;
  }
  [data-kind=model] > .kind, [data-kind=model] > .name > .kind { border-radius: 50%; }
  [data-kind=graph] > .name > .kind, [data-kind=node] > .kind, [data-kind=node] > .name > .kind { border-radius: 1px; }
  .state { flex: none; padding-inline: 6px; border-radius: 4px; background: var(--t-sunken); color: var(--t-soft); font-size: 0.6875rem; font-weight: 650; }
  [data-status=running] .state { background: var(--t-running-wash); color: var(--t-running); }
  :is([data-status=failed], [data-status=fatal], [data-inside=failed]) .state { background: var(--t-failed-wash); color: var(--t-failed); }
  :is([data-status=failed], [data-status=fatal])[data-origin=true] .state { background: var(--t-failed); color: light-dark(#fff, #2a0f0c); }
  :is([data-status=handled], [data-status=error], [data-status=retry], [data-inside=handled]) .state { background: var(--t-handled-wash); color: var(--t-handled); }
  [data-status=interrupted] .state { color: var(--t-waiting); }
}

.job-events-timeline {
  .unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); }
  .slowest, .facets { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; min-block-size: 28px; margin-block-end: 8px; }
  .slowest .title { color: var(--t-soft); margin-inline-end: 4px; }
  .slow, .facet {
    display: inline-flex; align-items: center; gap: 6px; min-block-size: 28px; max-inline-size: 100%; padding: 2px 10px 2px 6px;
    border: 1px solid var(--t-line); border-radius: 99px; background: var(--t-panel); overflow: hidden;
  }
  .facets .facets { display: contents; }
  .search { flex: 0 1 13rem; min-inline-size: 8rem; margin-inline-start: auto; min-block-size: 28px; padding: 2px 10px; border: 1px solid var(--t-edge); border-radius: 99px; background: var(--t-panel); color: inherit; font: inherit; font-size: 0.75rem; }
  .search::placeholder { color: var(--t-soft); opacity: 1; }
  .slow { border-radius: var(--t-radius); background: linear-gradient(var(--kind), var(--kind)) left bottom / var(--share) 3px no-repeat var(--t-panel); }
  .slow:hover, .facet:hover { border-color: var(--t-edge); }
  .slow .label { font-weight: 650; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; flex: 0 1 auto; min-inline-size: 2em; max-inline-size: 16em; }
  .slow .within { flex: 0 3 auto; min-inline-size: 0; color: var(--t-soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-inline-size: 10em; }
  .slow .value { flex: none; font-variant-numeric: tabular-nums; font-weight: 650; white-space: nowrap; }
  .slow .share { flex: none; color: var(--t-soft); white-space: nowrap; }
  .facet { font-size: 0.75rem; white-space: nowrap; }
  .facet[aria-pressed=true] { border-color: var(--t-accent); background: var(--t-wash); box-shadow: inset 0 0 0 1px var(--t-accent); font-weight: 650; }
  .rank {
    display: inline-grid; flex: none; place-items: center; min-inline-size: 17px; block-size: 17px; border-radius: 99px;
    background: var(--t-ink); color: var(--t-panel); font-size: 0.6875rem; font-weight: 700; line-height: 1;
  }
  .grid { container-type: inline-size; border: 1px solid var(--t-line); border-radius: var(--t-radius); background: var(--t-panel); }
  .axis, .row {
    display: grid; grid-template-columns: minmax(0, 42%) minmax(0, 1fr) 88px; align-items: center; block-size: 28px; padding-inline: 8px 12px;
  }
  &[data-compares=true] :is(.axis, .row) { grid-template-columns: minmax(0, 36%) minmax(0, 1fr) 200px; }
  .axis {
    position: sticky; inset-block-start: var(--sticky); z-index: 2; border-block-end: 1px solid var(--t-line); border-start-start-radius: var(--t-radius); border-start-end-radius: var(--t-radius);
    background: var(--t-panel); color: var(--t-soft); font-size: 0.75rem;
  }
  .axis .track { position: relative; block-size: 100%; }
  .ticks { position: absolute; inset: 0; }
  .tick { position: absolute; inset-block-end: 5px; padding-inline-start: 4px; white-space: nowrap; font-variant-numeric: tabular-nums; }
  .tick::before { content: ""; position: absolute; inset-inline-start: 0; inset-block: 4px -6px; border-inline-start: 1px solid var(--t-line); }
  .rows { contain: layout; overflow: clip; }
  .row { position: absolute; inset-inline: 0; inset-block-start: 0; cursor: pointer; contain: layout style; }
  .row:hover { background: var(--t-sunken); }
  .row:focus-visible { outline-offset: -2px; }
  .row[aria-selected=true] { background: var(--t-wash); box-shadow: inset 3px 0 var(--t-accent); }
  .row:is([data-status=failed], [data-status=fatal])[data-origin=true] { background: var(--t-failed-wash); box-shadow: inset 3px 0 var(--t-failed); }
  .row[data-origin=true][aria-selected=true] { outline: 1px solid currentcolor; outline-offset: -1px; }
  .row[data-context=true] .label { color: var(--t-soft); }
  .cell { min-inline-size: 0; }
  .row .name { display: flex; align-items: center; gap: 6px; block-size: 100%; padding-inline-end: 10px; overflow: hidden; white-space: nowrap; }
  .indent { flex: none; inline-size: calc(var(--level) * 14px); }
  .guide { position: absolute; inset-block: 0; inset-inline-start: calc(var(--level) * 14px + 2px); inline-size: 4px; border-inline: 1px solid var(--t-edge); }
  .guide.first { inset-block-start: 5px; }
  .guide.last { inset-block-end: 5px; }
  .guide.firstlast { inset-block: 5px; }
  .toggle { flex: none; align-self: stretch; inline-size: 16px; position: relative; }
  .toggle:not([data-open=""])::before {
    content: ""; position: absolute; inset: calc(50% - 4px) auto auto 3px; border: 4px solid transparent; border-inline-start: 6px solid var(--t-soft); border-inline-end: 0; transform-origin: 2.5px 50%;
  }
  .toggle[data-open=true]::before { transform: rotate(90deg); }
  .toggle:hover::before { border-inline-start-color: var(--t-ink); }
  &[data-flat=true] .toggle { inline-size: 4px; }
  .row .label { flex: 0 1 auto; min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; font-weight: 500; }
  .row .detail { flex: 1 1 0; min-inline-size: 0; overflow: hidden; text-overflow: ellipsis; color: var(--t-soft); font: 0.75rem var(--t-mono); }
  .row .group, .row .count { flex: none; padding-inline: 6px; border-radius: 99px; background: var(--t-sunken); color: var(--t-soft); font-size: 0.6875rem; }
  .row .group { background: none; border: 1px solid var(--t-line); }
  .row:is([data-status=fatal], [data-status=failed])[data-origin=true] .detail { color: var(--t-failed); }
  .row:is([data-status=handled], [data-status=error], [data-status=retry]) .detail { color: var(--t-handled); }
  .row .track { position: relative; block-size: 100%; border-inline: 1px solid var(--t-line); background: repeating-linear-gradient(90deg, transparent 0 var(--first), var(--t-line) var(--first) calc(var(--first) + 1px), transparent calc(var(--first) + 1px) var(--tick)); }
  .bar, .wait { position: absolute; inset-block: 8px; min-inline-size: 3px; border-radius: 3px; background: color-mix(in srgb, var(--kind) 62%, var(--t-panel)); }
  .row[data-slowest=true] .bar { background: var(--kind); }
  .wait { inset-block: 13px; border: 0 dashed var(--t-edge); border-block-start-width: 2px; border-radius: 0; background: none; }
  .bar[data-inferred=true] { border-inline-end: 3px dotted var(--t-ink); border-start-end-radius: 0; border-end-end-radius: 0; }
  :is([data-status=failed], [data-status=fatal]) .bar:not(.second), .second:is([data-status=failed], [data-status=fatal]) { background: color-mix(in srgb, var(--t-failed) 25%, var(--t-panel)); box-shadow: inset 0 0 0 1px var(--t-failed); }
  :is([data-status=failed], [data-status=fatal])[data-origin=true] .bar:not(.second) { background: var(--t-failed); min-inline-size: 5px; }
  :is([data-status=handled], [data-status=error], [data-status=retry]) .bar:not(.second), .second:is([data-status=handled], [data-status=error], [data-status=retry]) { background: color-mix(in srgb, var(--t-handled) 75%, var(--t-panel)); min-inline-size: 5px; }
  :is([data-status=interrupted], [data-status=cancelled], [data-status=stopped]) .bar:not(.second) { --hatch: var(--kind); background: repeating-linear-gradient(135deg, color-mix(in srgb, var(--hatch) 70%, var(--t-panel)) 0 4px, var(--t-panel) 4px 8px); box-shadow: inset 0 0 0 1px var(--hatch); }
  [data-status=interrupted] .bar:not(.second) { --hatch: var(--t-waiting); }
  [data-status=running] .bar:not(.second) { border-inline-end: 2px solid var(--t-running); border-start-end-radius: 0; border-end-end-radius: 0; }
  &[data-compares=true] .bar { inset-block: 5px 15px; }
  &[data-compares=true] .bar.second { inset-block: 15px 5px; }
  .second { opacity: 0.8; }
  .time { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; color: var(--t-soft); }
  [data-slowest=true] .value { color: var(--t-ink); font-weight: 700; }
  .delta { margin-inline-start: 8px; font-weight: 650; color: var(--t-ink); }
  .delta[data-slower=true] { color: var(--t-failed); }
  .empty { margin: 0; padding: 24px; text-align: center; color: var(--t-soft); }
  .tip {
    position: fixed; inset-block-start: 0; left: 0; z-index: 20; max-inline-size: min(26rem, 90vw); padding: 6px 10px; border-radius: var(--t-radius); pointer-events: none;
    background: var(--t-ink); color: var(--t-panel); font-size: 0.75rem; overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
  }
  .tip > :first-child { font-weight: 650; }
  @media (min-width: 40rem) {
    .slowest { flex-wrap: nowrap; }
    .slowest .title { flex: none; }
    .slow { flex: 0 1 auto; min-inline-size: 7em; }
    &[data-compares=true] .slowest { flex-wrap: wrap; }
    &[data-compares=true] .title { flex: 0 1 auto; }
  }
  @container (max-width: 34rem) {
    .axis, .row, &[data-compares=true] :is(.axis, .row) { grid-template-columns: minmax(0, 1fr) auto; column-gap: 8px; padding-inline: 4px 10px; }
    .axis .track { position: absolute; inset: 0; visibility: hidden; }
    .row .track { position: absolute; inset: auto 10px 1px 10px; block-size: 5px; border: 0; background: var(--t-sunken); }
    .row[data-branch=false] .track { display: none; }
    .bar, .bar.second, .wait { inset-block: 0; border-radius: 2px; }
    &[data-compares=true] .bar { inset-block: 0 3px; }
    &[data-compares=true] .bar.second { inset-block: 3px 0; }
    .indent { inline-size: calc(var(--level) * 10px); }
    .guide { inset-inline-start: calc(var(--level) * 10px); }
    .row .name { padding-inline-end: 0; }
    .state:not([hidden]) + .detail { display: none; }
  }
  @media (prefers-reduced-motion: no-preference) {
    [data-status=running] .bar { transition: inline-size 0.3s linear; }
  }
  @media (forced-colors: active) {
    .bar, .kind, .rank { forced-color-adjust: none; }
  }
}

.job-events-inspector {
  position: relative; padding: 12px 16px 16px; border: 1px solid var(--t-line); border-radius: var(--t-radius); background: var(--t-panel); overflow-wrap: anywhere;
  .head { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 8px; }
  .head .state { order: 1; font-size: 0.75rem; }
  a { color: var(--t-accent); }
  h2 { flex: 1 1 11em; min-inline-size: 0; margin: 0; font-size: 1rem; line-height: 1.3; }
  h2:focus { outline: none; }
  h3 { display: flex; flex-wrap: wrap; gap: 8px; margin: 14px 0 4px; font-size: 0.8125rem; }
  .icon { min-inline-size: 28px; min-block-size: 28px; padding: 0; border: 1px solid var(--t-line); border-radius: var(--t-radius); background: none; line-height: 1; }
  .icon:hover, .action:hover { background: var(--t-sunken); }
  dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 3px 12px; margin: 10px 0; }
  dt { color: var(--t-soft); }
  dd { margin: 0; font-variant-numeric: tabular-nums; }
  .soft { color: var(--t-soft); font-weight: 400; }
  code, pre { font: 0.75rem/1.5 var(--t-mono); }
  pre { margin: 4px 0; padding: 8px 10px; border-radius: var(--t-radius); background: var(--t-sunken); white-space: pre-wrap; }
  .error { padding: 8px 10px; border-inline-start: 3px solid var(--tone); border-radius: 3px; background: var(--wash); --tone: var(--t-failed); --wash: var(--t-failed-wash); }
  :is([data-status=handled], [data-status=error], [data-status=retry]).error { --tone: var(--t-handled); --wash: var(--t-handled-wash); }
  .error strong { display: block; color: var(--tone); }
  .error pre { background: none; padding: 4px 0 0; }
  .box { padding: 6px 10px; border-radius: var(--t-radius); background: var(--t-sunken); }
  details.raw { border-block-start: 1px solid var(--t-line); }
  .raw summary { padding: 4px 0; cursor: pointer; overflow-wrap: anywhere; }
  .raw summary .soft { margin-inline-start: 8px; }
  .raw time { color: var(--t-soft); font-variant-numeric: tabular-nums; margin-inline-start: 8px; }
  .actions { display: flex; flex-wrap: wrap; gap: 6px; margin-block: 10px; align-items: center; }
  .action { min-block-size: 28px; padding: 2px 10px; border: 1px solid var(--t-line); border-radius: var(--t-radius); background: none; }
  @media (max-width: 60rem) {
    .icon { min-inline-size: 40px; min-block-size: 40px; }
    .action { min-block-size: 36px; }
  }
  .keys { margin: 10px 0 0; color: var(--t-soft); font-size: 0.75rem; }
}

.job-events-view {
  display: flex; align-items: flex-start; gap: 4px; min-inline-size: 0;
  .main { flex: 1; min-inline-size: 0; }
  .side { position: sticky; inset-block-start: calc(var(--job-events-sticky, 0px) + 4px); display: flex; flex: none; inline-size: min(var(--width), 55%); max-block-size: calc(100vh - var(--job-events-sticky, 0px) - 12px); }
  .side[hidden] { display: none; }
  .job-events-inspector { flex: 1; overflow-y: auto; }
  .handle { flex: none; inline-size: 12px; cursor: col-resize; touch-action: none; background: linear-gradient(var(--job-events-edge, light-dark(#8b867c, #7d8289)), var(--job-events-edge, light-dark(#8b867c, #7d8289))) center / 2px 28px no-repeat; }
  .handle:focus-visible { outline: 2px solid var(--job-events-accent, light-dark(#0b6b61, #5ec9b8)); outline-offset: -2px; }
  @media (max-width: 60rem) {
    .side { position: fixed; inset: auto 0 0; z-index: 15; inline-size: auto; max-block-size: 60vh; box-shadow: 0 -4px 24px rgb(0 0 0 / 25%); }
    &:has(> .side:not([hidden])) { padding-block-end: 60vh; }
    .handle { display: none; }
    .job-events-inspector { border-width: 1px 0 0; border-radius: 12px 12px 0 0; padding-block-start: 0; overscroll-behavior: contain; }
    .job-events-inspector .keys { display: none; }
    .job-events-inspector > .head { position: sticky; inset-block-start: 0; z-index: 1; padding-block: 10px 6px; background: var(--t-panel); }
  }
}
`;

/** @param {Document|ShadowRoot} root */
export const addTimelineStyles = (root) => adoptStyles(root, CSS);
