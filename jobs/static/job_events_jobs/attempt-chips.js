/**
 * The attempts of the job as chips: one is displayed, a second one may be compared with it.
 */
import { byId, element, setText } from "./elements.js";
import { formatSpan } from "./page-text.js";

const MAX_CHIPS = 200;

/** @param {Object} page  @param {() => void} redraw  Called when another attempt is displayed. */
export function createAttempts(page, redraw) {
  const { translate, url } = page;
  const chips = byId("attempt-chips");
  const compare = byId("compare");
  let drawn = "";
  chips.addEventListener("click", choose);
  compare.addEventListener("change", () => {
    url.set({ compare: compare.value || null });
    show();
  });
  return { draw };

  function choose(click) {
    const number = click.target.closest("[data-number]")?.dataset.number;
    if (!number || click.ctrlKey || click.metaKey) return;
    click.preventDefault();
    const latest = number === String(page.model.attempt);
    url.set({ attempt: latest ? null : number, event: null, span: null });
    if (url.get("compare") === number) url.set({ compare: null });
    show();
    chips.querySelector(`[data-number="${number}"]`)?.focus();
  }

  function show() {
    draw();
    redraw();
  }

  function draw() {
    const attempts = page.model.attempts.slice(-MAX_CHIPS);
    const key = JSON.stringify([page.attempt, page.compareWith, attempts.map((each) => [each.number, each.status, each.end, each.error])]);
    byId("attempts").hidden = attempts.length < 2;
    if (key === drawn || attempts.length < 2) return;
    drawn = key;
    chips.replaceChildren(...attempts.map(chip));
    const others = attempts.filter(({ number }) => number !== page.attempt);
    compare.replaceChildren(option("", "–"), ...others.map(({ number }) => option(number, translate("attempt", { number }))));
    compare.value = page.compareWith ?? "";
  }

  function chip({ number, status, start, end, error }) {
    const node = element("a", {
      class: "chip",
      href: url.href({ attempt: number, event: null, span: null }),
      "data-number": number,
      "data-status": status,
      title: error.slice(0, 300),
    });
    if (number === page.attempt) node.ariaCurrent = "true";
    node.append(element("span", { class: "chip-mark", "aria-hidden": "true" }), `${number} ${translate(`status.${status}`)}`);
    if (start && end) node.append(element("span", { class: "chip-note" }, formatSpan((end - start) / 1000)));
    return node;
  }
}

function option(value, label) {
  const node = element("option", { value });
  setText(node, label);
  return node;
}
