/**
 * Values that the browser stores for the site; it may refuse storage, as in some private windows.
 */

/** @param {string} key @returns {string|null} Null without storage, too. */
export function readStored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Without storage, the value is lost at the end of the page. @param {string} key @param {string} value */
export function writeStored(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // see above
  }
}
