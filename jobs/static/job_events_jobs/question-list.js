/**
 * The questions of the job: those that wait for an answer, with their forms, and those that were answered.
 *
 * An event may contain a shortened prompt; the API has the whole one.
 */
import { TERMINAL } from "../job_events/job-attempts.js";
import { jsonTree } from "../job_events/json-tree.js";
import { isRefusal } from "../job_events/retry.js";
import { eventData } from "../job_events/untrusted.js";
import { byId, element, setText } from "./elements.js";
import { formatTime } from "./page-text.js";
import { postJson } from "./post.js";
import { promptTitle, promptView } from "./prompt-view.js";
import { addQuestionStyles } from "./question-styles.js";

/** More choices than these do not stay in view. */
const STICKY_CHOICES = 4;
const RETRY_MS = 5_000;
const RESPONSE_TIMEOUT_MS = 30_000;

export class QuestionList {
  /**
   * @param {HTMLElement} root  Gets the sections "questions" and "answered".
   * @param {Object} page
   */
  constructor(root, page) {
    Object.assign(this, { page, translate: page.translate, requests: [], requested: "", received: new Set() });
    /** Forms by attempt and name; a form stays while its question is open, with what was typed into it. */
    this.forms = new Map();
    this.list = element("div");
    this.card = element("section", { class: "card questions", id: "questions", "aria-labelledby": "questions-title" },
      element("h2", { id: "questions-title" }, this.translate("question.heading")), this.list);
    this.answeredTitle = element("summary");
    this.answered = element("details", { class: "card answered", id: "answered" }, this.answeredTitle);
    this.answered.addEventListener("toggle", () => this.drawAnswers());
    this.card.hidden = this.answered.hidden = true;
    root.classList.add("question-area");
    root.replaceChildren(this.card, this.answered);
    addQuestionStyles();
  }

  draw({ events = [] } = {}) {
    const { model, isPlayback, config, log } = this.page;
    this.card.toggleAttribute("data-readonly", config.mayChange === false || Boolean(isPlayback));
    const changes = events.filter(({ event_type: type }) => type === "input_requested" || type === "input_received");
    for (const event of changes) this.change(event);
    if (changes.length || (log?.hasEarlier && !this.requested)) this.request();
    this.drawForms(TERMINAL.has(model.status) ? [] : [...model.questions.values(), ...this.earlier()]);
    this.drawAnswers();
  }

  change(event) {
    const { name, attempt } = eventData(event);
    if (event.event_type === "input_received") this.received.add(keyOf({ name, attempt }));
  }

  /** Open questions that were asked before the part of the log that the page has. */
  earlier() {
    const { model, isPlayback, log } = this.page;
    if (isPlayback || !log?.hasEarlier) return [];
    return this.requests.filter((each) => !each.answered_at && each.attempt === model.attempt
      && !model.questions.has(each.name) && !this.received.has(keyOf(each)));
  }

  drawForms(open) {
    const known = this.forms;
    this.forms = new Map(open.map((question) => {
      const key = keyOf(question);
      return [key, known.get(key) ?? new QuestionForm(question, this.page)];
    }));
    const gone = [...known].filter(([key]) => !this.forms.has(key)).map(([, form]) => form);
    for (const form of gone) form.node.remove();
    for (const [key, form] of this.forms) {
      form.showPrompt(this.requests.find((each) => keyOf(each) === key)?.prompt);
      if (form.node.isConnected) continue;
      this.list.append(form.node);
      this.page.announce(this.translate("question.asked", { text: promptTitle(form.question.prompt) }));
    }
    this.card.hidden = open.length === 0;
    const isFocusLost = document.activeElement === document.body && gone.some((form) => form.isAnswered);
    if (isFocusLost) (this.list.querySelector("button, textarea") ?? byId("job-title")).focus();
  }

  drawAnswers() {
    const now = this.page.isPlayback ? this.page.now() : Infinity;
    const answers = this.requests.filter((each) => each.answered_at && Date.parse(each.answered_at) <= now);
    this.answered.hidden = answers.length === 0;
    setText(this.answeredTitle, this.translate("question.answered", { count: answers.length }));
    const drawn = answers.map(keyOf).join(" ");
    if (!this.answered.open || this.answered.dataset.drawn === drawn) return;
    this.answered.dataset.drawn = drawn;
    this.answered.replaceChildren(this.answeredTitle, ...answers.map((each) => this.answerView(each)));
  }

  answerView({ name, attempt, prompt, value, answered_at: at, answered_by: by }) {
    const id = `answered-${attempt}-${name}`;
    const time = element("time", { datetime: at }, formatTime(Date.parse(at)));
    const who = by || this.translate("question.anonymous");
    return element("article", { class: "answer", "aria-labelledby": id },
      promptView(prompt, id, this.translate),
      element("p", { class: "soft" }, element("bdi", {}, who), " · ", time),
      jsonTree(value, { translate: this.translate, open: 3 }));
  }

  /** Reads the questions of all attempts from the API, again if a further event arrives meanwhile. */
  async request() {
    const wanted = this.page.log?.events?.at(-1)?.id ?? "";
    if (this.isBusy || (wanted && wanted === this.requested)) return void (this.isStale = this.isBusy);
    Object.assign(this, { isBusy: true, isStale: false });
    const requests = await this.fetchRequests();
    this.isBusy = false;
    if (requests) Object.assign(this, { requests, requested: wanted });
    else setTimeout(() => this.request(), RETRY_MS);
    if (requests) this.draw();
    if (this.isStale) this.request();
  }

  async fetchRequests() {
    try {
      const signal = AbortSignal.timeout(RESPONSE_TIMEOUT_MS);
      const response = await fetch(this.page.config.inputsUrl, { headers: { Accept: "application/json" }, signal });
      if (!response.ok) return isRefusal(response.status) ? [] : null;
      return (await response.json()).results;
    } catch {
      return null;
    }
  }
}

const keyOf = ({ attempt, name }) => `${attempt}/${name}`;

class QuestionForm {
  constructor(question, page) {
    Object.assign(this, { question, page, translate: page.translate });
    this.id = `question-${question.attempt}-${question.name}`;
    this.isAnswered = false;
    this.problem = element("p", { class: "field-problem", role: "alert" });
    this.promptSlot = element("div");
    const fields = question.choices.length ? this.choices() : this.freeAnswer();
    this.node = element("form", { class: "question" }, this.promptSlot, ...fields, this.problem,
      element("p", { class: "soft question-readonly" }, this.translate("question.readonly")));
    this.node.addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.answer(submit.submitter);
    });
    this.showPrompt();
  }

  /** Draws the prompt, again if the whole one differs from what is shown. */
  showPrompt(prompt = this.prompt ?? this.question.prompt) {
    const text = JSON.stringify(prompt);
    if (text === this.drawn) return;
    Object.assign(this, { drawn: text, prompt });
    this.promptSlot.replaceChildren(promptView(prompt, this.id, this.translate));
  }

  choices() {
    const { choices } = this.question;
    const buttons = choices.map((choice) =>
      element("button", { class: "button", type: "submit", value: choice, dir: "auto" }, choice));
    const row = element("div", { class: "question-choices", role: "group", "aria-labelledby": this.id }, ...buttons);
    if (choices.length <= STICKY_CHOICES) row.dataset.sticky = "";
    return [row];
  }

  freeAnswer() {
    this.field = element("textarea", { name: "answer", rows: "3", required: "", dir: "auto", "aria-labelledby": this.id });
    this.isJson = element("input", { type: "checkbox" });
    const label = element("label", { class: "question-json" }, this.isJson, " ", this.translate("question.json"));
    const send = element("button", { class: "button button-primary", type: "submit" }, this.translate("question.send"));
    return [this.field, element("div", { class: "question-choices" }, send, label)];
  }

  async answer(button) {
    const value = this.field ? this.typed() : button?.value;
    if (value === undefined) return;
    this.setBusy(true);
    setText(this.problem, "");
    const { inputsUrl, csrfHeader } = this.page.config;
    const fields = { name: this.question.name, value, attempt: this.question.attempt };
    const { isDone, detail } = await postJson(inputsUrl, fields, csrfHeader);
    this.isAnswered = isDone;
    if (isDone) return; // the event "input_received" removes the form
    setText(this.problem, detail || this.translate("question.failed"));
    this.setBusy(false);
    button?.focus();
  }

  /** The typed answer; undefined if it is not the JSON that it should be. */
  typed() {
    if (!this.isJson.checked) return this.field.value;
    try {
      return JSON.parse(this.field.value);
    } catch (error) {
      setText(this.problem, this.translate("question.invalid", { reason: error.message }));
      this.field.focus();
      return undefined;
    }
  }

  setBusy(isBusy) {
    for (const each of this.node.querySelectorAll("button[type=submit], textarea, input")) each.disabled = isBusy;
  }
}
