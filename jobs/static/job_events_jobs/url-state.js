/**
 * State of the page in the query string: tab, filters, attempt, and the selected event or span.
 */

export class UrlState {
  /** @param {() => void} onChange  Called when the user goes back or forward. */
  constructor(onChange) {
    addEventListener("popstate", onChange);
  }

  get query() {
    return new URLSearchParams(location.search);
  }

  /** @returns {string|null} */
  get(name) {
    return this.query.get(name);
  }

  /** @returns {string[]} The values of a parameter that may occur several times. */
  all(name) {
    return this.query.getAll(name);
  }

  /** @returns {number|null} A whole number above 0. */
  number(name) {
    const value = this.get(name) ?? "";
    return /^[1-9]\d{0,5}$/.test(value) ? Number(value) : null;
  }

  /**
   * @param {Record<string, string|number|string[]|null>} values  null removes a parameter.
   * @param {{push?: boolean}} [options]  push: the change can be undone with "back".
   */
  set(values, { push = false } = {}) {
    const url = this.href(values);
    if (url === this.href({})) return;
    history[push ? "pushState" : "replaceState"](null, "", url);
  }

  /** @returns {string} The URL of this page with changed parameters. */
  href(values) {
    const query = this.query;
    for (const [name, value] of Object.entries(values)) {
      query.delete(name);
      for (const each of [value ?? []].flat()) query.append(name, String(each));
    }
    const text = query.toString();
    return location.pathname + (text && `?${text}`);
  }
}
