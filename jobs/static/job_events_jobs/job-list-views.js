/**
 * Saved views: names for the filters of the page, stored in the browser.
 */
import { byId, element } from "./elements.js";
import { readStored, writeStored } from "../job_events/storage.js";
import { asList, asObject, asText } from "../job_events/untrusted.js";

const KEY = "job-events-views";
const MAX_VIEWS = 50;
/** These are a place in the list, not a filter. */
const NOT_STORED = ["cursor", "rows", "summary"];

export function createViews(translate) {
  const form = byId("view-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("view-name").value.trim();
    if (!name) return;
    store([...read().filter((view) => view.name !== name), { name, query: query() }]);
    form.reset();
    draw();
  });
  addEventListener("storage", (event) => event.key === KEY && draw());
  draw();

  function draw() {
    const views = read();
    byId("views-empty").hidden = views.length > 0;
    byId("view-list").replaceChildren(...views.map(row));
  }

  function row({ name, query: saved }) {
    const link = element("a", { href: `?${saved}`, dir: "auto", class: "menu-link" }, name);
    if (saved === query()) link.setAttribute("aria-current", "true");
    const label = translate("views.delete", { name });
    const remove = element("button", { type: "button", class: "view-delete", "aria-label": label, title: label }, "×");
    remove.addEventListener("click", () => {
      store(read().filter((view) => view.name !== name));
      draw();
      byId("view-name").focus();
    });
    return element("li", {}, link, remove);
  }
}

function query() {
  const params = new URLSearchParams(location.search);
  for (const [name, value] of [...params]) if (!value || NOT_STORED.includes(name)) params.delete(name);
  return params.toString();
}

/** @returns {{name: string, query: string}[]} */
function read() {
  try {
    const views = asList(JSON.parse(readStored(KEY) ?? "[]")).map(asObject);
    return views.map(({ name, query: saved }) => ({ name: asText(name), query: asText(saved) })).filter(({ name }) => name);
  } catch {
    return []; // not what this page has stored
  }
}

const store = (views) => writeStored(KEY, JSON.stringify(views.slice(-MAX_VIEWS)));
