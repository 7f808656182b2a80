/**
 * Jobs and failures over time: a bar for each period. A click, a drag over several bars or the keyboard choose the time
 * range of the list.
 */
import { byId, element, setText } from "./elements.js";
import { formatNumber, formatTime } from "./page-text.js";

/** @returns {(figures: {start: string, step: number, created: (number|null)[], failed: (number|null)[]}) => void} */
export function createActivity(translate) {
  const bars = byId("activity-bars");
  const shown = { start: 0, step: 0 };
  /** Indexes of the bars where a drag has begun and where it is. */
  const drag = { from: -1, to: -1 };

  const buttons = () => [...bars.children];
  const indexAt = ({ clientX }) => {
    const { left, width } = bars.getBoundingClientRect();
    const share = (clientX - left) / width;
    const along = getComputedStyle(bars).direction === "rtl" ? 1 - share : share;
    return Math.min(bars.children.length - 1, Math.max(0, Math.floor(along * bars.children.length)));
  };

  bars.addEventListener("keydown", (event) => {
    const all = buttons();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    focus(all[Math.min(all.length - 1, Math.max(0, to))]);
  });
  bars.addEventListener("click", (event) => {
    // A pointer ends with pointerup; this is the keyboard or a screen reader.
    if (event.detail === 0) choose(buttons().indexOf(event.target.closest("button")));
  });
  bars.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !bars.children.length) return;
    bars.setPointerCapture(event.pointerId);
    drag.from = drag.to = indexAt(event);
    mark();
  });
  bars.addEventListener("pointermove", (event) => {
    if (drag.from < 0) return;
    drag.to = indexAt(event);
    mark();
  });
  bars.addEventListener("pointerup", () => {
    if (drag.from >= 0) choose(Math.min(drag.from, drag.to), Math.max(drag.from, drag.to));
  });
  bars.addEventListener("pointercancel", () => {
    drag.from = drag.to = -1;
    mark();
  });

  function mark() {
    const [first, last] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    buttons().forEach((bar, index) => bar.toggleAttribute("data-marked", first >= 0 && index >= first && index <= last));
  }

  function focus(bar) {
    for (const each of bars.children) each.tabIndex = each === bar ? 0 : -1;
    bar.focus();
  }

  /** Filters the list by the time of the bars. */
  function choose(first, last = first) {
    if (first < 0) return;
    const [since, until] = [first, last + 1].map((index) => localTime(shown.start + index * shown.step * 1000));
    const url = new URL(location.href);
    for (const name of ["cursor", "rows", "summary"]) url.searchParams.delete(name);
    for (const [name, value] of Object.entries({ range: "own", since, until })) url.searchParams.set(name, value);
    location.assign(url);
  }

  return function draw({ start, step, created, failed }) {
    Object.assign(shown, { start: Date.parse(start), step });
    const most = Math.max(1, ...created.map((count, index) => Math.max(count ?? 0, failed[index] ?? 0)));
    created.forEach((count, index) => drawBar(index, count, failed[index], most));
    buttons().slice(created.length).forEach((bar) => bar.remove());
    if (!bars.querySelector("[tabindex='0']") && bars.lastChild) bars.lastChild.tabIndex = 0;
    const sum = (counts) => {
      const known = counts.filter((count) => count !== null);
      return known.length ? formatNumber(known.reduce((total, count) => total + count, 0)) : "–";
    };
    const times = { since: minuteText(shown.start), until: minuteText(shown.start + created.length * step * 1000) };
    setText(byId("activity-text"), translate("activity.summary", { jobs: sum(created), failed: sum(failed), ...times }));
  };

  function drawBar(index, count, failures, most) {
    const bar = bars.children[index] ?? bars.appendChild(newBar());
    const time = minuteText(shown.start + index * shown.step * 1000);
    const isKnown = count !== null && failures !== null;
    const label = isKnown ? translate("activity.bar", { time, jobs: formatNumber(count), failed: formatNumber(failures) }) : translate("activity.unknown", { time });
    if (bar.title !== label) {
      bar.title = label;
      bar.setAttribute("aria-label", label);
    }
    bar.toggleAttribute("data-unknown", !isKnown);
    bar.style.setProperty("--share-jobs", ((count ?? 0) / most).toFixed(4));
    bar.style.setProperty("--share-failed", ((failures ?? 0) / most).toFixed(4));
  }

  function newBar() {
    return element("button", { type: "button", class: "activity-bar", tabindex: "-1" });
  }
}

/** "2026-11-26 21:14 UTC": periods begin with a minute. */
const minuteText = (ms) => formatTime(ms).replace(/:\d\d /, " ");

/** A time as the fields of the form have it, in the time zone of the server: "2026-11-26T21:14". */
function localTime(ms) {
  return formatTime(ms).slice(0, 16).replace(" ", "T");
}
