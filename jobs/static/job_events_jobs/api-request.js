/**
 * A form that sends an operation of the API with the session of the user, and shows the response.
 */
import { element, setText } from "./elements.js";
import { asList, asObject, asText } from "../job_events/untrusted.js";

/** More of a response is not shown; a live stream has no end. */
const MAX_CHARACTERS = 200_000;

/** @returns {HTMLFormElement} */
export function requestForm({ operation, parameters, body, config, translate }) {
  const fields = parameters.map((parameter) => parameterField(operation, parameter));
  const first = asObject(Object.values(asObject(body?.examples))[0]).value;
  const text = body ? labelled("textarea", `${operation.operationId}-body`, "JSON", { rows: "6", spellcheck: "false", dir: "ltr" }) : null;
  if (text) text.field.value = first === undefined ? "{}" : JSON.stringify(first, null, 2);
  const send = element("button", { class: "button button-primary", type: "submit" }, translate("send"));
  const stop = element("button", { class: "button", type: "button", hidden: "" }, translate("stop"));
  const status = element("p", { class: "api-status", role: "status" });
  const output = element("pre", { class: "json", dir: "auto", hidden: "" });
  const all = [...fields, ...(text ? [text] : [])].map(({ node }) => node);
  const form = element("form", { class: "api-form" }, ...all, element("div", { class: "api-send" }, send, stop), status, output);
  let running = null;
  stop.addEventListener("click", () => running?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    stop.hidden = false;
    output.hidden = true;
    await run(buildRequest(operation, fields, text?.field.value, config), running.signal);
    stop.hidden = true;
  });
  return form;

  async function run({ url, options }, signal) {
    setText(status, `${options.method} ${url}`);
    try {
      const answer = await fetch(url, { ...options, signal });
      setText(status, `${answer.status} ${answer.statusText} · ${answer.headers.get("Content-Type") ?? ""}`);
      await show(answer);
    } catch (error) {
      if (!signal.aborted) setText(status, `${translate("failed")} ${error.message}`);
    }
  }

  async function show(answer) {
    output.hidden = false;
    output.textContent = "";
    const decoder = new TextDecoder();
    const reader = answer.body?.getReader();
    let shown = "";
    while (reader && shown.length < MAX_CHARACTERS) {
      const { done, value } = await reader.read();
      if (done) break;
      shown += decoder.decode(value, { stream: true });
      output.textContent = shown;
    }
    await reader?.cancel();
    output.textContent = pretty(shown);
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // lines, a stream or nothing
  }
}

function parameterField(operation, parameter) {
  const schema = asObject(parameter.schema);
  const id = `${operation.operationId}-${asText(parameter.name)}`;
  const choices = asList(schema.enum);
  const field = labelled(choices.length ? "select" : "input", id, asText(parameter.name), choices.length ? {} : { type: "text" });
  if (choices.length) field.field.append(...["", ...choices].map((value) => element("option", {}, String(value))));
  field.field.required = Boolean(parameter.required);
  if (schema.type === "array") field.field.placeholder = "a, b";
  return { ...field, parameter, isArray: schema.type === "array" };
}

function labelled(name, id, label, attributes) {
  const field = element(name, { id, ...attributes });
  const node = element("div", { class: "api-field" }, element("label", { for: id }, element("code", {}, label)), field);
  return { node, field };
}

function buildRequest(operation, fields, text, config) {
  const query = new URLSearchParams();
  const headers = { Accept: "application/json, */*" };
  let { url } = operation;
  for (const { field, parameter, isArray } of fields) {
    const value = field.value.trim();
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (!value) continue;
    else if (parameter.in === "header") headers[parameter.name] = value;
    else for (const each of isArray ? value.split(",").map((part) => part.trim()) : [value]) query.append(parameter.name, each);
  }
  const method = operation.method.toUpperCase();
  if (method !== "GET") headers[config.csrfHeader] = document.querySelector("[name=csrfmiddlewaretoken]").value;
  if (text !== undefined) headers["Content-Type"] = "application/json";
  return { url: query.size ? `${url}?${query}` : url, options: { method, headers, ...(text === undefined ? {} : { body: text }) } };
}
