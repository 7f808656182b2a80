/**
 * Creation of elements and scrolling. Text is inserted as text, never as markup.
 */

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

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/** Sets the text only when it differs, so that nothing is drawn or read aloud again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const NEAR_PX = 24;

/**
 * Keeps a reader who is at the end of what scrolls at its end, and any other where they are. Only
 * scrolling changes which of them the reader is: a panel that gets another size does not.
 */
export class Tail {
  /** @param {HTMLElement} scroller */
  constructor(scroller) {
    this.scroller = scroller;
    this.following = true;
    scroller.addEventListener("scroll", () => this.look(), { passive: true });
  }

  look() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight <= NEAR_PX;
  }

  /** Makes the change, then follows. */
  after(change) {
    change();
    if (this.following) this.follow();
  }

  follow() {
    this.following = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}

/** Says something to screen readers, at most once in a while: the newest wins. */
export function announcer(region, everyMs = 3000) {
  let [waiting, timer] = ["", 0];
  const speak = () => {
    timer = 0;
    if (!waiting) return;
    region.textContent = waiting;
    waiting = "";
    timer = setTimeout(speak, everyMs);
  };
  return (text) => {
    waiting = text;
    if (!timer) timer = setTimeout(speak, 150);
  };
}
