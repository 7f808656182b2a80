/**
 * The bar above the list of events: search, filters with counts, pause and export.
 */
import { element, setText, smallButton } from "./elements.js";
import { LEVELS } from "./event-entries.js";
import { save } from "./files.js";
import { formatNumber } from "./page-text.js";

const SEARCH_MS = 300;
/** Types that are shown until "More types" is pressed. */
const SHOWN_TYPES = 8;

export class EventTools {
  /** @param {Object} tab  The tab that has the filter and the events. */
  constructor(tab) {
    Object.assign(this, { tab, translate: tab.translate, showsAll: false, timer: 0 });
    /** Buttons by type. */
    this.chips = new Map();
    this.search = this.searchField();
    this.errors = this.chip(() => tab.setFilter({ errors: !tab.filter.errors }));
    this.errors.classList.add("chip-errors");
    this.level = this.levelField();
    this.pause = smallButton("", () => tab.setPaused(!tab.isPaused));
    this.export = element("a", { class: "button button-small", download: "" }, this.translate("events.export"));
    this.export.addEventListener("click", (click) => this.exportShown(click));
    this.types = element("div", { class: "chips", role: "group", "aria-label": this.translate("events.types") });
    this.all = smallButton("", () => this.toggleAll());
    this.note = element("span", { class: "soft event-note" });
    const line = element("div", { class: "event-tools-line" }, this.search, this.errors, this.level, this.pause, this.export);
    this.node = element("div", { class: "event-tools" }, line, this.types, this.note);
  }

  searchField() {
    const label = this.translate("events.search");
    const field = element("input", {
      type: "search", id: "event-search", "aria-label": label, placeholder: label, "aria-keyshortcuts": "/", autocomplete: "off",
      title: this.translate("events.searchHelp"), value: this.tab.filter.search,
    });
    const apply = () => {
      clearTimeout(this.timer);
      const search = field.value.trim();
      if (search !== this.tab.filter.search) this.tab.setFilter({ search });
    };
    field.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(apply, SEARCH_MS);
    });
    field.addEventListener("keydown", ({ key }) => key === "Enter" && apply());
    return field;
  }

  levelField() {
    const any = element("option", { value: "" }, this.translate("events.anyLevel"));
    const options = LEVELS.map((level) =>
      element("option", { value: level }, this.translate("events.fromLevel", { level: this.translate(`level.${level}`) })));
    const select = element("select", { "aria-label": this.translate("events.level") }, any, ...options);
    select.addEventListener("change", () => this.tab.setFilter({ level: select.value }));
    return select;
  }

  chip(onClick) {
    const made = smallButton("", onClick);
    made.className = "chip";
    return made;
  }

  toggleAll() {
    this.showsAll = !this.showsAll;
    this.draw();
  }

  toggleType(type) {
    const types = new Set(this.tab.filter.types);
    if (!types.delete(type)) types.add(type);
    this.tab.setFilter({ types });
  }

  draw() {
    const { filter, entries, isPaused, newCount, search } = this.tab;
    if (document.activeElement !== this.search && this.search.value !== filter.search) this.search.value = filter.search;
    this.level.value = LEVELS.includes(filter.level) ? filter.level : "";
    this.level.hidden = !entries.levels && !filter.level;
    setText(this.errors, this.translate("events.errors", { count: formatNumber(entries.errors) }));
    this.errors.setAttribute("aria-pressed", String(filter.errors));
    this.pause.hidden = Boolean(search) || (this.tab.page.log?.ended === true && !isPaused);
    this.pause.setAttribute("aria-pressed", String(isPaused));
    setText(this.pause, isPaused ? this.translate("events.resume", { count: formatNumber(newCount) }) : this.translate("events.pause"));
    this.drawTypes(filter, entries);
    const isPart = this.tab.page.log?.hasEarlier === true;
    setText(this.note, isPart ? this.translate("events.part", { count: formatNumber(entries.all.length) }) : "");
    this.export.href = this.exportUrl(filter);
    const shown = this.tab.rows.filter((row) => row.event).length;
    const isLocal = filter.errors || filter.level;
    setText(this.export, isLocal ? this.translate("events.exportShown", { count: formatNumber(shown) }) : this.translate("events.export"));
  }

  drawTypes({ types }, entries) {
    const counted = [...new Map([...[...types].map((type) => [type, 0]), ...entries.types])];
    counted.sort(([one, oneCount], [two, twoCount]) => types.has(two) - types.has(one) || twoCount - oneCount || (one < two ? -1 : 1));
    const shown = counted.slice(0, this.showsAll ? 200 : SHOWN_TYPES);
    const known = this.chips;
    this.chips = new Map(shown.map(([type]) => [type, known.get(type) ?? this.typeChip(type)]));
    for (const [type, count] of shown) {
      const node = this.chips.get(type);
      setText(node.lastElementChild, formatNumber(count));
      node.setAttribute("aria-pressed", String(types.has(type)));
    }
    const nodes = [...this.chips.values()];
    if (counted.length > SHOWN_TYPES) nodes.push(this.all);
    setText(this.all, this.translate(this.showsAll ? "events.fewerTypes" : "events.moreTypes", { count: counted.length - SHOWN_TYPES }));
    if (nodes.some((node, index) => this.types.children[index] !== node) || this.types.childElementCount !== nodes.length) {
      const focused = document.activeElement;
      this.types.replaceChildren(...nodes);
      if (this.types.contains(focused)) focused.focus({ preventScroll: true });
    }
  }

  typeChip(type) {
    const made = this.chip(() => this.toggleType(type));
    made.append(element("span", { dir: "auto", class: "chip-label" }, type || "–"), " ", element("span", { class: "chip-count" }));
    return made;
  }

  exportUrl({ types, search }) {
    const query = new URLSearchParams([...(search ? [["search", search]] : []), ...[...types].map((type) => ["event_type", type])]);
    return `${this.tab.eventsUrl}export/?${query}`;
  }

  /** The API cannot select errors and levels: exports the shown events in this case. */
  exportShown(click) {
    const { filter, rows, page } = this.tab;
    if (!filter.errors && !filter.level) return;
    click.preventDefault();
    const lines = rows.filter((row) => row.event).map(({ event }) => `${JSON.stringify(event)}\n`);
    save(new Blob(lines, { type: "application/x-ndjson" }), `${page.config.jobId}.ndjson`);
  }
}
