/**
 * Quantities of the monitor in the language of the page.
 */
import { formatNumber, formatTime, language, timeZone } from "./page-text.js";

const SECONDS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];
const BYTES = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
/** Below this number, one digit follows the decimal point. */
const FEW = 10;

const inUnits = (unit, digits) =>
  new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits: digits });
const formats = new Map();
const percentFormat = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
const fewFormat = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
const hourFormat = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone });
const dayFormat = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", timeZone });

export const formatHour = (seconds) => hourFormat.format(seconds * 1000);
export const formatDay = (seconds) => dayFormat.format(seconds * 1000);
export const formatMoment = (seconds) => formatTime(seconds * 1000);

/** 0.12 as "120 ms", 90 as "1.5 min". */
function formatSeconds(seconds) {
  if (seconds > 0 && seconds < 1) return unitOf(seconds * 1000, "millisecond");
  const [unit, size] = SECONDS.find(([, length]) => seconds >= length) ?? SECONDS.at(-1);
  return unitOf(seconds / size, unit);
}

function unitOf(amount, unit) {
  const key = `${unit} ${amount < FEW}`;
  if (!formats.has(key)) formats.set(key, inUnits(unit, amount < FEW ? 1 : 0));
  return formats.get(key).format(amount);
}

function formatBytes(bytes) {
  const [unit, size] = BYTES.find(([, length]) => bytes >= length) ?? ["B", 1];
  const amount = bytes / size;
  return `${formatNumber(amount < FEW ? Math.round(amount * 10) / 10 : Math.round(amount))} ${unit}`;
}

const byUnit = {
  count: (value) => (Math.abs(value) < FEW ? fewFormat.format(value) : formatNumber(Math.round(value))),
  rate: (value) => fewFormat.format(value),
  share: (value) => percentFormat.format(value),
  seconds: formatSeconds,
  bytes: formatBytes,
  money: (value) => fewFormat.format(value),
};

/** @param {number|null|undefined} value @param {string} unit @returns {string} A dash if it is unknown. */
export const formatQuantity = (value, unit) => (value === null || value === undefined ? "–" : byUnit[unit](value));
