/**
 * Texts, numbers and times in the language of the page. The page contains the translated texts.
 */

import { formatInstant, formatMs, language } from "../job_events/time-format.js";

/** @returns {Record<string, any>} Data that the server wrote into the page. */
export function pageConfig() {
  return JSON.parse(document.getElementById("page-config").textContent);
}

/**
 * The clock of the server: that of the browser may differ by hours. `performance.now()` stops while the
 * machine sleeps.
 * @param {{now: string}} config
 * @returns {() => number} Milliseconds since 1970.
 */
export function serverClock({ now }) {
  const offset = Date.parse(now) - Date.now();
  return () => Date.now() + offset;
}

/**
 * @param {Record<string, string>} strings
 * @returns {(name: string, values?: Record<string, unknown>) => string}
 */
export function translator(strings) {
  return (name, values = {}) =>
    (strings[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => String(values[key] ?? whole));
}

/** The time zone of the server, that of the admin, if Intl supports it; else of the browser. */
function pageTimeZone() {
  try {
    const { timeZone } = pageConfig();
    return new Intl.DateTimeFormat("en", { timeZone }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

export { language };
export const timeZone = pageTimeZone();
const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" };
const clockFormat = new Intl.DateTimeFormat(language, { ...clock, timeZone });
const agoFormat = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const numberFormat = new Intl.NumberFormat(language);
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
const DAYS_AS_AGO = 7;

/** "21:14:37.250" */
export const formatClock = (time) => clockFormat.format(time);
export const formatNumber = (number) => numberFormat.format(number);

/** Milliseconds since 1970 as "2026-11-26 21:14:37 UTC". */
export const formatTime = (time) => formatInstant(time, timeZone).replace(/\.\d+/, "");

/** "3 minutes ago"; "now" for the first minute; the time after a week. */
export function formatAgo(time, now = Date.now()) {
  const seconds = Math.min(0, (time - now) / 1000);
  if (-seconds > DAYS_AS_AGO * 86_400) return formatTime(time);
  const [unit, size] = UNITS.find(([, length]) => -seconds >= length) ?? ["second", Infinity];
  return agoFormat.format(Math.trunc(seconds / size), unit);
}

/** Seconds as "12 ms", "6.30 s", "2 min 5 s". */
export const formatSpan = (seconds) => formatMs(Math.max(0, seconds) * 1000);

/** Symbols of the SI and those accepted with it, the same in every language. */
const SYMBOLS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

/** Whole seconds as "4 s", "3 min", "5 h": an age that is not exact. */
export function formatAge(seconds) {
  const [symbol, size] = SYMBOLS.find(([, length]) => seconds >= length) ?? SYMBOLS.at(-1);
  return `${Math.max(0, Math.floor(seconds / size))} ${symbol}`;
}

/** Milliseconds as "1:02:03", the same in every language. */
export function formatDuration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return (hours ? `${hours}:${pad(minutes)}` : String(minutes)) + `:${pad(seconds % 60)}`;
}
