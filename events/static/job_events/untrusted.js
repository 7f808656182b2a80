/**
 * Readers of untrusted values: each returns a value of its type, or an empty one.
 */

/** @param {unknown} value @returns {Record<string, any>} The object, or an empty one. */
export function asObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

/**
 * @param {{data: unknown}} event
 * @returns {Record<string, any>} The keys of the event. The callback handler nests its own in `data`.
 */
export function eventData(event) {
  const outer = asObject(event.data);
  const inner = outer.data;
  return inner && typeof inner === "object" && !Array.isArray(inner) ? { ...outer, ...inner } : outer;
}

/** @param {unknown} value @returns {any[]} */
export function asList(value) {
  return Array.isArray(value) ? value : [];
}

/** @param {unknown} value @returns {string} Text to show; objects as JSON, nothing as "". */
export function asText(value) {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return String(value);
  try {
    return JSON.stringify(value, null, 2);
  } catch {
    return "…"; // thousands of levels
  }
}

/** @param {unknown} value @returns {number|null} 0 to 100, also from "42" and "42 %". */
export function asPercent(value) {
  const isText = typeof value === "string" && value.trim() !== "";
  const number = typeof value === "number" ? value : isText ? parseFloat(value) : NaN;
  return Number.isFinite(number) ? Math.min(100, Math.max(0, number)) : null;
}

/** @param {unknown} value @returns {number|null} Milliseconds since 1970. */
export function asTime(value) {
  const time = typeof value === "string" && value ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? null : time;
}

/** @param {unknown} value A node name such as "draft_outline". @returns {string} "Draft outline" */
export function asLabel(value) {
  const words = asText(value).replace(/[_\s]+/g, " ").trim();
  return words.charAt(0).toLocaleUpperCase() + words.slice(1);
}
