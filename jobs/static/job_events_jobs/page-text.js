/**
 * Texts, numbers and times in the language of the page. The page contains the translated texts.
 */

/** @returns {Record<string, any>} Data that the server wrote into the page. */
export function pageConfig() {
  return JSON.parse(document.getElementById("page-config").textContent);
}

/**
 * @param {Record<string, string>} strings
 * @returns {(name: string, values?: Record<string, unknown>) => string}
 */
export function translator(strings) {
  return (name, values = {}) =>
    (strings[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => String(values[key] ?? whole));
}

/** The language of the page if Intl supports it, else of the browser. */
function pageLanguage() {
  try {
    return Intl.getCanonicalLocales(document.documentElement.lang)[0];
  } catch {
    return undefined;
  }
}

export const language = pageLanguage();
const clockFormat = new Intl.DateTimeFormat(language, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});
const fullFormat = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const shortFormat = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const agoFormat = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const numberFormat = new Intl.NumberFormat(language);
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
const DAYS_AS_AGO = 7;

export const formatClock = (time) => clockFormat.format(time);
export const formatFull = (time) => fullFormat.format(time);
export const formatShort = (time) => shortFormat.format(time);
export const formatNumber = (number) => numberFormat.format(number);

/** "3 minutes ago"; "now" for the first minute; a date after a week. */
export function formatAgo(time, now = Date.now()) {
  const seconds = Math.min(0, (time - now) / 1000);
  if (-seconds > DAYS_AS_AGO * 86_400) return formatShort(time);
  const [unit, size] = UNITS.find(([, length]) => -seconds >= length) ?? ["second", Infinity];
  return agoFormat.format(Math.trunc(seconds / size), unit);
}

/** Milliseconds as "1:02:03", the same in every language. */
export function formatDuration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return (hours ? `${hours}:${pad(minutes)}` : String(minutes)) + `:${pad(seconds % 60)}`;
}

/** Converts times from the time zone of the server to that of the user. */
export function localiseTimes(root) {
  for (const element of root.querySelectorAll("time[data-local], time[data-ago]")) {
    const time = Date.parse(element.dateTime);
    if (Number.isNaN(time)) continue;
    element.textContent = "ago" in element.dataset ? formatAgo(time) : formatShort(time);
    element.title = formatFull(time);
  }
}
