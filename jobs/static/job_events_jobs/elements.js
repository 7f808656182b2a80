/**
 * Creation of elements and scrolling. Text is inserted as text, never as markup.
 */

const ANNOUNCE_MS = 3_000;

/**
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** @param {string} label @param {(click: Event) => void} onClick @returns {HTMLElement} */
export function smallButton(label, onClick) {
  const made = element("button", { type: "button", class: "button button-small" }, label);
  made.addEventListener("click", onClick);
  return made;
}

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** Sets the text if it differs, so that screen readers do not repeat it. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows the state of the connection in the chip of the page. */
export function showLiveState(state, text) {
  byId("live-chip").dataset.state = state;
  document.documentElement.dataset.liveState = state;
  setText(byId("live-text"), text);
}

/** Announces a text to screen readers, at most one in ANNOUNCE_MS: the latest. */
export function announcer(region) {
  let [waiting, timer] = ["", 0];
  const update = () => {
    timer = 0;
    if (!waiting) return;
    region.textContent = waiting;
    waiting = "";
    timer = setTimeout(update, ANNOUNCE_MS);
  };
  return (text) => {
    waiting = text;
    if (!timer) timer = setTimeout(update, 150);
  };
}
