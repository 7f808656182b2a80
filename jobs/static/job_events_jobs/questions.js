/**
 * What the job asks a person, and the answer: each open question as a form of its own.
 */
import { byId, element } from "./elements.js";
import { isOver } from "./job-state.js";

/**
 * @param {(name: string, values?: Record<string, any>) => string} say
 * @param {(text: string) => void} announce
 * @param {string} url  Where answers are posted to.
 */
export function createQuestions(say, announce, url) {
  const card = byId("questions");
  const list = byId("question-list");
  /** The forms, by the questions that they show: one who writes an answer is not interrupted. */
  let drawn = new Map();

  return function draw(state) {
    const open = isOver(state) ? [] : [...state.questions.values()];
    const known = drawn;
    drawn = new Map(open.map((question) => [question, known.get(question) ?? form(question)]));
    for (const [question, node] of known) if (!drawn.has(question)) node.remove();
    for (const [question, node] of drawn) {
      if (node.isConnected) continue;
      list.append(node);
      announce(say("question.asked", { text: question.text.slice(0, 200) }));
    }
    card.hidden = open.length === 0;
  };

  function form(question) {
    const id = `question-${question.name}`;
    const problem = element("p", { class: "field-problem", role: "alert" });
    const node = element("form", { class: "question" });
    const fields = question.choices.length ? choices(question, id) : freeText(question, id);
    node.append(...fields, problem);
    node.addEventListener("submit", (submit) => {
      submit.preventDefault();
      const given = submit.submitter?.value || node.elements.namedItem("answer")?.value || "";
      send(node, question, given, problem);
    });
    return node;
  }

  function choices({ text, choices }, id) {
    const buttons = choices.map((choice) =>
      element("button", { class: "button", type: "submit", value: choice, dir: "auto" }, choice),
    );
    const row = element("div", { class: "question-choices", role: "group", "aria-labelledby": id });
    row.append(...buttons);
    return [element("p", { class: "question-text", dir: "auto", id }, text), row];
  }

  function freeText({ text }, id) {
    return [
      element("label", { class: "question-text", dir: "auto", for: id }, text),
      element("textarea", { id, name: "answer", rows: "3", required: "", dir: "auto" }),
      element("button", { class: "button button-primary", type: "submit" }, say("question.send")),
    ];
  }

  async function send(node, { name }, value, problem) {
    const buttons = [...node.querySelectorAll("button")];
    buttons.forEach((button) => (button.disabled = true));
    problem.textContent = "";
    const refusal = await post(name, value);
    if (refusal === null) return; // the log says so, and the form goes
    problem.textContent = refusal || say("question.failed");
    buttons.forEach((button) => (button.disabled = false));
  }

  /** @returns {Promise<string|null>} Why it was refused; null if it was not. */
  async function post(name, value) {
    const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
    const headers = { "Content-Type": "application/json", [card.dataset.csrfHeader]: token };
    const body = JSON.stringify({ name, value });
    const answer = await fetch(url, { method: "POST", headers, body }).catch(() => null);
    if (answer?.ok) return null;
    const told = await answer?.json().catch(() => null);
    return told?.detail ?? "";
  }
}
