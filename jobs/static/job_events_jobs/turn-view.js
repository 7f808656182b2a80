/**
 * One turn of the conversation as an element, which is changed in place.
 */
import { jsonText, jsonTree, textBlock } from "../job_events/json-tree.js";
import { asList, asObject, asText } from "../job_events/untrusted.js";
import { element, setText } from "./elements.js";
import { formatClock, formatSpan, formatTime } from "./page-text.js";
import { promptView } from "./prompt-view.js";

/** Longer values are collapsed. */
const SHORT_CHARS = 300;
const GIST_CHARS = 120;
/** Messages of a prompt that are shown, the latest. */
const MAX_MESSAGES = 100;
const FOLDED = new Set(["reasoning", "prompt"]);
let number = 0;

export class TurnView {
  /** @param {import("./conversation.js").Turn} turn @param {Object} page */
  constructor(turn, page) {
    Object.assign(this, { turn, page, translate: page.translate, version: -1, piece: 0 });
    this.status = element("span");
    this.body = element("div");
    this.node = element("div", { class: "turn", role: "listitem", "data-kind": turn.kind, "data-event-id": turn.eventId });
    this.node.append(...this.parts());
  }

  parts() {
    const head = this.head();
    if (!FOLDED.has(this.turn.kind)) return [head, this.body];
    const details = element("details", {}, element("summary", {}, head), this.body);
    if (this.turn.kind === "prompt") details.addEventListener("toggle", () => this.drawPrompt(), { once: true });
    return [details];
  }

  head() {
    const { kind, name, time } = this.turn;
    const title = element("strong", { dir: "auto" }, this.title(kind, name));
    const path = element("span", { class: "turn-path", dir: "auto" }, this.path());
    const clock = element("time", {}, time === null ? "" : formatClock(time));
    if (time !== null) {
      clock.setAttribute("datetime", new Date(time).toISOString());
      clock.title = formatTime(time);
    }
    return element(FOLDED.has(kind) ? "span" : "div", { class: "turn-head" }, title, path, this.status, clock);
  }

  title(kind, name) {
    if (kind === "tool") return name || this.translate("tool.unknown");
    if (kind === "prompt") return this.translate("turn.prompt", { count: this.turn.messages.length });
    if (kind === "attempt") return this.translate("attempt", { number: this.turn.number });
    return this.translate(`turn.${kind}`) + (kind !== "question" && kind !== "error" && name ? `: ${name}` : "");
  }

  /** The steps around the turn, from the outermost one. */
  path() {
    const names = [];
    for (let each = this.page.model.spanOf(this.turn.eventId)?.parent ?? null; each && names.length < 20; each = each.parent) {
      if (each.kind !== "task") names.unshift(each.name);
    }
    return names.length ? names.join(" › ") : this.turn.node;
  }

  draw() {
    const { turn } = this;
    if (turn.version === this.version) return;
    this.version = turn.version;
    setText(this.node.querySelector(".turn-path"), this.path());
    const draw = { tool: this.drawTool, question: this.drawQuestion, error: this.drawError, prompt: () => {}, attempt: () => {} };
    (draw[turn.kind] ?? this.drawText).call(this);
  }

  drawText() {
    const { turn } = this;
    if (!this.text) {
      this.text = document.createTextNode("");
      this.body.append(element("div", { class: "turn-text", dir: "auto" }, this.text));
    }
    const added = turn.pieces.slice(this.piece).join("");
    this.piece = turn.pieces.length;
    if (added) this.text.appendData(added);
    setText(this.status, turn.isOpen ? this.translate("turn.writing") : turn.isCut ? this.translate("turn.cut") : "");
    if (turn.extra && !this.extra) this.body.append((this.extra = jsonTree(turn.extra, { translate: this.translate, open: 1 })));
  }

  drawPrompt() {
    const { messages } = this.turn;
    for (const message of messages.slice(-MAX_MESSAGES)) {
      const { role, content, name, tool_calls: calls } = asObject(message);
      const who = [role, name].map(asText).filter(Boolean).join(" · ") || "–";
      this.body.append(element("div", { class: "turn-role", dir: "auto" }, who), this.value(content ?? message));
      if (asList(calls).length) this.body.append(this.part("turn.calls", calls));
    }
  }

  drawTool() {
    const { status, input, output, error, seconds } = this.turn;
    this.node.toggleAttribute("data-failed", status === "failed");
    const words = [this.translate(`tool.${status}`)];
    if (seconds) words.push(formatSpan(seconds));
    setText(this.status, words.join(" · "));
    this.status.classList.toggle("turn-bad", status === "failed");
    const parts = [];
    if (input !== undefined && input !== null) parts.push(this.part("tool.input", input));
    if (output !== undefined && output !== null) parts.push(this.part("tool.output", output));
    if (error) parts.push(this.errorText(error));
    this.body.replaceChildren(...parts);
  }

  drawError() {
    this.body.replaceChildren(this.errorText(this.turn.error));
  }

  errorText({ message, type }) {
    const text = textBlock(message || this.translate("error.unnamed"), { translate: this.translate });
    text.classList.add("turn-bad");
    return element("div", {}, ...(type ? [element("code", {}, type)] : []), text);
  }

  drawQuestion() {
    const { prompt, isAnswered, answer, by, answeredAt } = this.turn;
    this.promptNode ??= promptView(prompt, `turn-question-${(number += 1)}`, this.translate);
    const parts = [this.promptNode];
    if (isAnswered) {
      const when = answeredAt === null ? "" : ` · ${formatTime(answeredAt)}`;
      parts.push(element("div", { class: "turn-label" }, this.translate("turn.answered"), " ", element("bdi", {}, by), when), this.value(answer));
    }
    this.body.replaceChildren(...parts);
  }

  /** A labelled value; a long one is collapsed. */
  part(label, value) {
    const text = typeof value === "string" ? value : (jsonText(value, 0) ?? "");
    if (text.length <= SHORT_CHARS) return element("div", {}, element("div", { class: "turn-label" }, this.translate(label)), this.value(value));
    const gist = element("span", { class: "soft", dir: "auto" }, text.slice(0, GIST_CHARS).replace(/\s+/g, " "));
    const details = element("details", {}, element("summary", {}, `${this.translate(label)} · `, gist, "…"));
    details.addEventListener("toggle", () => details.append(this.value(value)), { once: true });
    return details;
  }

  value(value) {
    const { translate } = this;
    return typeof value === "string" ? textBlock(value, { translate }) : jsonTree(value, { translate, open: 2 });
  }
}
