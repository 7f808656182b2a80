/**
 * A button that scrolls to the end of a list which grows, and keeps it in view until the user scrolls up.
 */
import { element } from "./elements.js";

const NEAR_PX = 32;
/** Share of the window within which the end is near enough to do without the button. */
const CLOSE_SHARE = 0.5;

export class Follower {
  /** @param {HTMLElement} body  Its end is followed. @param {string} label */
  constructor(body, label) {
    Object.assign(this, { body, isOn: false, top: 0 });
    this.button = element("button", { type: "button", class: "button button-small to-latest" }, label);
    this.button.hidden = true;
    this.button.addEventListener("click", () => {
      this.isOn = true;
      this.scroll();
    });
    addEventListener("scroll", () => this.atScroll(), { passive: true });
  }

  get distance() {
    return this.body.getBoundingClientRect().bottom - innerHeight;
  }

  get isClose() {
    return this.distance <= innerHeight * CLOSE_SHARE;
  }

  atScroll() {
    if (!this.body.offsetParent) return;
    this.isOn = this.distance <= NEAR_PX && scrollY > 0;
    this.button.hidden = this.isClose;
    this.top = scrollY;
  }

  /** Call before a change of the list: the event of a scroll that the user has just made comes with the next frame. */
  prepare() {
    if (scrollY < this.top) this.isOn = false;
  }

  /** Call after a change of the list. */
  draw() {
    if (this.isOn) this.scroll();
    else this.button.hidden = this.isClose;
  }

  scroll() {
    const distance = this.distance;
    if (distance > 0) scrollBy({ top: distance + NEAR_PX / 2, behavior: "instant" });
    this.top = scrollY;
  }
}
