/**
 * Forms for the open input requests of the job.
 */
import { byId, element } from "./elements.js";
import { isOver } from "./job-state.js";

/**
 * @param {(name: string, values?: Record<string, any>) => string} translate
 * @param {(text: string) => void} announce
 * @param {string} url  Address that receives the answers.
 */
export function createQuestions(translate, announce, url) {
  const card = byId("questions");
  const list = byId("question-list");
  /** Forms by question; a form stays while its question is open, with the text typed into it. */
  let drawn = new Map();

  return function draw(state) {
    const open = isOver(state) ? [] : [...state.questions.values()];
    const known = drawn;
    drawn = new Map(open.map((question) => [question, known.get(question) ?? form(question)]));
    for (const [question, node] of known) if (!drawn.has(question)) node.remove();
    for (const [question, node] of drawn) {
      if (node.isConnected) continue;
      list.append(node);
      announce(translate("question.asked", { text: question.text.slice(0, 200) }));
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
      element("button", { class: "button button-primary", type: "submit" }, translate("question.send")),
    ];
  }

  async function send(node, { name }, value, problem) {
    const buttons = [...node.querySelectorAll("button")];
    buttons.forEach((button) => (button.disabled = true));
    problem.textContent = "";
    const refusal = await post(name, value);
    if (refusal === null) return; // the event "input_received" removes the form
    problem.textContent = refusal || translate("question.failed");
    buttons.forEach((button) => (button.disabled = false));
  }

  /** @returns {Promise<string|null>} The reason of a rejection, or null. */
  async function post(name, value) {
    const token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
    const headers = { "Content-Type": "application/json", [card.dataset.csrfHeader]: token };
    const body = JSON.stringify({ name, value });
    const answer = await fetch(url, { method: "POST", headers, body }).catch(() => null);
    if (answer?.ok) return null;
    const problem = await answer?.json().catch(() => null);
    return problem?.detail ?? "";
  }
}
