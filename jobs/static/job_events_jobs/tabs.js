/**
 * The tabs of the run page. The module of a tab is imported when the tab is shown first; only the visible tab
 * is drawn. A module exports `createTab(root, page)`, which returns `{draw({restart, events}), show?(), hide?()}`.
 */
import { byId, element } from "./elements.js";

/** The imports are literals: Django's storages replace their addresses. */
const MODULES = {
  timeline: () => import("./timeline-tab.js"),
  conversation: () => import("./conversation-tab.js"),
  events: () => import("./events-tab.js"),
  result: () => import("./data-tabs.js"),
  input: () => import("./data-tabs.js"),
};
export const TABS = Object.keys(MODULES);
/** A hidden tab with more events than these is drawn anew when it is shown. */
const MAX_WAITING_EVENTS = 2_000;

export class Tabs {
  /** @param {Object} page  @param {() => void} redraw */
  constructor(page, redraw) {
    Object.assign(this, { page, redraw });
    this.tabs = new Map(TABS.map((name) => [name, new Tab(name, page)]));
    this.list = document.querySelector("[role=tablist]");
    this.current = TABS.find((name) => this.tabs.get(name).button.ariaSelected === "true") ?? TABS[0];
    /** The tab at the page load, while the URL names none. */
    this.initial = this.current;
    this.list.addEventListener("click", (click) => this.choose(click.target.closest("[role=tab]")));
    this.list.addEventListener("keydown", (press) => this.move(press));
    const bar = byId("run-bar");
    const { style } = document.documentElement;
    // What is sticky in a tab starts below the bar.
    new ResizeObserver(() => style.setProperty("--job-events-sticky", `${bar.offsetHeight}px`)).observe(bar);
    /** Resolves when the opened tab is loaded. */
    this.loading = this.show(this.current);
  }

  choose(button) {
    const name = TABS.find((each) => this.tabs.get(each).button === button);
    if (name) this.open(name);
  }

  /** Opens a tab, which "back" undoes. */
  open(name, values = {}) {
    this.page.url.set({ ...values, tab: name }, { push: name !== this.current });
    return this.show(name);
  }

  move(press) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[press.key];
    if (step === undefined) return;
    press.preventDefault();
    const towards = document.dir === "rtl" && Number.isFinite(step) ? -step : step;
    const index = TABS.indexOf(this.current) + towards;
    const next = TABS[Number.isFinite(index) ? (index + TABS.length) % TABS.length : index < 0 ? 0 : TABS.length - 1];
    this.open(next);
    this.tabs.get(next).button.focus();
  }

  /** Shows the tab of the URL. */
  follow() {
    const chosen = this.page.url.get("tab");
    return this.show(TABS.includes(chosen) ? chosen : this.initial);
  }

  async show(name) {
    const before = this.tabs.get(this.current);
    const tab = this.tabs.get(name);
    if (before !== tab) before.hide();
    this.current = name;
    await tab.show();
    this.redraw();
  }

  /** Notes what has changed. */
  change(change) {
    for (const tab of this.tabs.values()) tab.change(change);
  }

  draw() {
    this.tabs.get(this.current).draw();
  }
}

class Tab {
  constructor(name, page) {
    Object.assign(this, { name, page });
    this.button = byId(`tab-${name}`);
    this.panel = byId(`panel-${name}`);
    this.view = null;
    this.restart = true;
    this.events = [];
  }

  change({ restart, events }) {
    if (restart || this.events.length + events.length > MAX_WAITING_EVENTS) this.restart = true;
    if (this.restart) this.events = [];
    else for (const event of events) this.events.push(event);
  }

  async show() {
    this.button.ariaSelected = "true";
    this.button.tabIndex = 0;
    this.panel.hidden = false;
    this.loading ??= this.load();
    await this.loading;
    if (!this.panel.hidden) this.view?.show?.();
  }

  async load() {
    try {
      const { createTab } = await MODULES[this.name]();
      this.view = createTab(this.panel, this.page);
    } catch (error) {
      this.loading = null;
      this.panel.replaceChildren(element("p", { class: "note", role: "alert" }, this.page.translate("tab.failed")));
      console.error(error);
    }
  }

  hide() {
    this.button.ariaSelected = "false";
    this.button.tabIndex = -1;
    this.view?.hide?.();
    this.panel.hidden = true;
  }

  draw() {
    if (!this.view || this.panel.hidden) return;
    const { restart } = this;
    const events = restart ? this.page.events : this.events;
    this.restart = false;
    this.events = [];
    this.view.draw({ restart, events });
  }
}
