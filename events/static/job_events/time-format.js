/**
 * Times and durations as text, in the language of the page.
 */

/** The language of the page if Intl supports it, else of the browser. */
function pageLanguage() {
  try {
    return Intl.getCanonicalLocales(document.documentElement.lang)[0];
  } catch {
    return undefined;
  }
}

export const language = pageLanguage();
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(language, { maximumFractionDigits: 3 });
const hundredths = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** @param {number} ms @returns {string} "12 ms", "6.30 s", "2 min 5 s", "3 h 4 min" */
export function formatMs(ms) {
  const size = Math.abs(ms);
  if (size < SECOND_MS - 0.5) return `${whole.format(ms)} ms`;
  if (size < MINUTE_MS - 5) return `${hundredths.format(ms / SECOND_MS)} s`;
  if (size < HOUR_MS) return pair(ms, MINUTE_MS, "min", SECOND_MS, "s");
  return pair(ms, HOUR_MS, "h", MINUTE_MS, "min");
}

function pair(ms, large, largeUnit, small, smallUnit) {
  const total = Math.round(ms / small);
  const [first, rest] = [Math.trunc((total * small) / large), Math.abs(total % (large / small))];
  return rest ? `${whole.format(first)} ${largeUnit} ${rest} ${smallUnit}` : `${whole.format(first)} ${largeUnit}`;
}

/** @param {number} count @returns {string} "28,512" */
export const formatCount = (count) => whole.format(count);

/** @param {number} ms  Since the start of the run. @returns {string} "+1.76 s" */
export function formatOffset(ms) {
  return ms < 0 ? formatMs(ms) : `+${formatMs(ms)}`;
}

/** @param {number} ms  A mark of an axis. @returns {string} "0", "500 ms", "1.5 s", "2 min" */
export function formatTick(ms) {
  const size = Math.abs(ms);
  if (size === 0) return "0";
  if (size < SECOND_MS) return `${whole.format(ms)} ms`;
  return size < MINUTE_MS ? `${short.format(ms / SECOND_MS)} s` : formatMs(ms);
}

/** @type {Map<string|undefined, Intl.DateTimeFormat>} */
const clocks = new Map();

function clock(timeZone) {
  if (!clocks.has(timeZone)) clocks.set(timeZone, newClock(timeZone));
  return clocks.get(timeZone);
}

function newClock(timeZone) {
  const digits = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const options = { ...digits, fractionalSecondDigits: 3, hourCycle: "h23", timeZoneName: "short" };
  try {
    // The locale has the abbreviations of time zones that Python also has.
    return new Intl.DateTimeFormat("en-GB", { ...options, timeZone });
  } catch {
    return new Intl.DateTimeFormat("en-GB", options);
  }
}

/**
 * @param {number} ms  Since 1970.
 * @param {string} [timeZone]  By default that of the browser.
 * @returns {string} "2026-11-26 21:14:37.012 UTC"
 */
export function formatInstant(ms, timeZone) {
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return "";
  const parts = Object.fromEntries(clock(timeZone).formatToParts(ms).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second, fractionalSecond, timeZoneName } = parts;
  return `${year}-${month}-${day} ${hour}:${minute}:${second}.${fractionalSecond} ${timeZoneName}`;
}

const STEPS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500,
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND_MS),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE_MS),
  ...[1, 2, 6, 12, 24, 48, 168, 720, 8760].map((count) => count * HOUR_MS),
];

/** @param {number} span  Milliseconds. @param {number} most @returns {number} Distance of at most `most` marks. */
export function tickStep(span, most) {
  return STEPS_MS.find((step) => span / step <= most) ?? span / most;
}
