/**
 * The tab "Conversation". Texts grow at their end; what is displayed above stays where it is.
 */
import { TERMINAL } from "../job_events/job-attempts.js";
import { Conversation } from "./conversation.js";
import { element, setText, smallButton } from "./elements.js";
import { Follower } from "./follower.js";
import { addTabStyles } from "./tab-styles.js";
import { TurnView } from "./turn-view.js";

const SHOWN_TURNS = 300;
/** Turns at the top are removed in batches, while the end is in view. */
const SLACK_TURNS = 100;
/** Limit while the end is not in view. */
const MAX_SHOWN_TURNS = 1_500;

/** @param {HTMLElement} root @param {Object} page @returns {{draw(change: Object): void}} */
export function createTab(root, page) {
  return new ConversationTab(root, page);
}

class ConversationTab {
  constructor(root, page) {
    Object.assign(this, { page, translate: page.translate, conversation: new Conversation() });
    addTabStyles();
    /** Drawn turns, in their order. @type {Map<Object, TurnView>} */
    this.views = new Map();
    this.seen = this.first = 0;
    /** The user opened earlier turns: they stay. */
    this.isEarlierShown = false;
    this.empty = element("p", { class: "soft" });
    this.earlier = smallButton("", () => this.showEarlier());
    this.list = element("div", { class: "conversation-turns", role: "list", "aria-label": this.translate("conversation.label") });
    this.follower = new Follower(this.list, this.translate("events.latest"));
    root.append(element("div", { class: "conversation" }, this.empty, this.earlier, this.list, this.follower.button));
  }

  draw({ restart = false, events = [] } = {}) {
    this.follower.prepare();
    if (restart) this.clear();
    for (const event of events) this.conversation.add(event);
    if (TERMINAL.has(this.page.model.status)) this.conversation.stop();
    const { turns } = this.conversation;
    if (restart) this.first = Math.max(0, turns.length - SHOWN_TURNS);
    this.dropGone();
    this.drawTurns();
    setText(this.empty, turns.length ? "" : this.emptyText());
    this.empty.hidden = turns.length > 0;
    this.earlier.hidden = this.first === 0;
    setText(this.earlier, this.translate("conversation.earlier", { count: this.first }));
    this.follower.draw();
  }

  clear() {
    this.conversation.clear();
    this.views.clear();
    this.list.replaceChildren();
    this.seen = this.first = 0;
    this.isEarlierShown = false;
  }

  /** Follows the turns that the conversation has dropped. */
  dropGone() {
    const gone = this.conversation.dropped - this.seen;
    this.seen = this.conversation.dropped;
    if (gone) this.first = Math.max(0, this.first - gone);
  }

  drawTurns() {
    const { turns } = this.conversation;
    const most = this.follower.isOn || this.follower.distance < 0 ? SHOWN_TURNS + SLACK_TURNS : MAX_SHOWN_TURNS;
    if (!this.isEarlierShown && turns.length - this.first > most) this.first = turns.length - (most - SLACK_TURNS);
    const shown = turns.slice(this.first);
    const wanted = new Set(shown);
    for (const [turn, view] of this.views) {
      if (wanted.has(turn)) continue;
      view.node.remove();
      this.views.delete(turn);
    }
    for (const turn of shown) {
      const view = this.views.get(turn) ?? this.addView(turn);
      view.draw();
    }
  }

  addView(turn) {
    const view = new TurnView(turn, this.page);
    this.views.set(turn, view);
    this.list.append(view.node);
    return view;
  }

  /** Shows earlier turns above those that are displayed, which stay where they are. */
  showEarlier() {
    const { turns } = this.conversation;
    const first = Math.max(0, this.first - SHOWN_TURNS);
    const added = turns.slice(first, this.first).map((turn) => [turn, new TurnView(turn, this.page)]);
    const top = this.list.firstElementChild;
    const before = top?.getBoundingClientRect().top ?? 0;
    added.forEach(([, view]) => view.draw());
    this.list.prepend(...added.map(([, view]) => view.node));
    this.views = new Map([...added, ...this.views]);
    this.first = first;
    this.isEarlierShown = true;
    this.earlier.hidden = first === 0;
    setText(this.earlier, this.translate("conversation.earlier", { count: first }));
    if (top) scrollBy({ top: top.getBoundingClientRect().top - before, behavior: "instant" });
  }

  emptyText() {
    return this.translate(TERMINAL.has(this.page.model.status) ? "conversation.none" : "conversation.later");
  }
}
