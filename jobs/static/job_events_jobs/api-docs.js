/**
 * The schema of the API as a page: operations by tag, each with parameters, bodies and a form that sends it.
 */
import { requestForm } from "./api-request.js";
import { byId, element, setText } from "./elements.js";
import { pageConfig, translator } from "./page-text.js";
import { asList, asObject, asText } from "../job_events/untrusted.js";

const config = pageConfig();
const translate = translator(config.strings);
const root = byId("api-docs");
let schemas = {};

async function main() {
  const answer = await fetch(config.schemaUrl, { headers: { Accept: "application/json" } }).catch(() => null);
  const schema = answer?.ok ? asObject(await answer.json().catch(() => ({}))) : {};
  schemas = asObject(asObject(schema.components).schemas);
  const operations = operationsOf(schema);
  if (!operations.length) return setText(byId("api-status"), translate("failed"));
  byId("api-status").remove();
  root.append(...described(asObject(schema.info).description), ...sections(operations), schemaSection());
  byId("api-filter").addEventListener("input", filter);
  addEventListener("hashchange", openTarget);
  openTarget();
}

function operationsOf(schema) {
  const server = asText(asObject(asList(schema.servers)[0]).url).replace(/\/$/, "");
  return Object.entries(asObject(schema.paths)).flatMap(([path, methods]) =>
    Object.entries(asObject(methods)).map(([method, operation]) => ({ ...asObject(operation), path, method, url: server + path })),
  );
}

function sections(operations) {
  const tags = [...new Set(operations.map(({ tags: [tag] = [] }) => asText(tag)))];
  return tags.map((tag) =>
    element("section", { class: "api-section" }, element("h2", { id: `tag-${tag}` }, tag), ...operations.filter(({ tags: [first] = [] }) => first === tag).map(operationNode)),
  );
}

/** An operation; its contents are created when it is opened. */
function operationNode(operation) {
  const summary = element(
    "summary",
    {},
    element("span", { class: "method", "data-method": operation.method }, operation.method.toUpperCase()),
    " ",
    element("code", { class: "api-path" }, ...breakable(operation.path)),
    " ",
    element("span", { class: "api-summary" }, ...marked(operation.summary)),
  );
  const node = element("details", { class: "card operation", id: operation.operationId }, summary);
  node.addEventListener("toggle", () => node.open && node.children.length === 1 && node.append(operationBody(operation)));
  return node;
}

/** A long path breaks after its slashes. */
const breakable = (path) => path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);

function operationBody(operation) {
  const parameters = asList(operation.parameters);
  const body = asObject(asObject(operation.requestBody).content)["application/json"];
  return element(
    "div",
    { class: "operation-body" },
    ...described(operation.description),
    ...(parameters.length ? [heading("parameters"), parameterTable(parameters)] : []),
    ...(body ? [heading("body"), ...schemaNodes(body.schema), ...examples(body)] : []),
    heading("send"),
    requestForm({ operation, parameters, body, config, translate }),
    heading("responses"),
    ...Object.entries(asObject(operation.responses)).sort().map(responseNode),
  );
}

const heading = (name) => element("h3", {}, translate(name));

function parameterTable(parameters) {
  return fieldTable(
    parameters.map((each) => ({ name: each.name, place: each.in, required: each.required, schema: asObject(each.schema), text: each.description })),
    translate("parameters"),
  );
}

/** A table of names with types; a row is a block on phones. */
function fieldTable(fields, caption) {
  const rows = fields.map(({ name, place, required, schema, text }) =>
    element(
      "tr",
      { role: "row" },
      element("th", { role: "rowheader", scope: "row" }, element("code", {}, name), ...(required ? [" ", element("span", { class: "required" }, translate("required"))] : [])),
      element("td", { role: "cell" }, ...typeNodes(schema), ...(place ? [element("span", { class: "soft" }, ` ${place}`)] : [])),
      element("td", { role: "cell" }, ...marked(text ?? schema.description)),
    ),
  );
  const head = element("tr", { role: "row" }, ...["name", "type", "description"].map((each) => element("th", { role: "columnheader", scope: "col" }, translate(each))));
  return element(
    "table",
    { class: "api-fields", role: "table" },
    element("caption", { class: "visually-hidden" }, caption),
    element("thead", { role: "rowgroup" }, head),
    element("tbody", { role: "rowgroup" }, ...rows),
  );
}

const nameOf = (reference) => asText(reference).split("/").at(-1);

/** The type of a schema, with links to named schemas, and its limits. */
function typeNodes(given) {
  const schema = asObject(given);
  if (schema.$ref) return [schemaLink(nameOf(schema.$ref))];
  for (const key of ["allOf", "oneOf", "anyOf"]) {
    const parts = asList(schema[key]);
    if (parts.length) return [...parts.flatMap((part, index) => [...(index ? [" | "] : []), ...typeNodes(part)]), ...limits(schema)];
  }
  if (schema.type === "array") return [`${translate("array")} `, ...typeNodes(schema.items), ...limits(schema)];
  const type = schema.format ? `${asText(schema.type)} (${asText(schema.format)})` : asText(schema.type) || translate("any");
  return [type, ...limits(schema)];
}

function limits(schema) {
  const texts = [];
  const add = (label, value) => value !== undefined && texts.push(`${label} ${typeof value === "string" ? value : JSON.stringify(value)}`);
  if (schema.nullable) texts.push("null");
  if (schema.enum) texts.push(asList(schema.enum).map((each) => JSON.stringify(each)).join(" | "));
  add(translate("default"), schema.default);
  add("≥", schema.minimum ?? schema.minLength ?? schema.minItems);
  add("≤", schema.maximum ?? schema.maxLength ?? schema.maxItems);
  add(translate("pattern"), schema.pattern);
  return texts.map((text) => element("span", { class: "limit" }, text));
}

const schemaLink = (name) => element("a", { href: `#schema-${name}` }, name);

function schemaNodes(given) {
  const schema = asObject(given);
  const own = schema.$ref ? asObject(schemas[nameOf(schema.$ref)]) : schema;
  const required = asList(own.required);
  const fields = Object.entries(asObject(own.properties)).map(([name, each]) => ({ name, required: required.includes(name), schema: asObject(each) }));
  const title = element("p", {}, ...typeNodes(schema));
  return fields.length ? [title, fieldTable(fields, nameOf(schema.$ref) || translate("body"))] : [title];
}

function responseNode([status, given]) {
  const response = asObject(given);
  const contents = Object.entries(asObject(response.content));
  return element(
    "details",
    { class: "api-response" },
    element("summary", {}, element("strong", {}, status), " ", element("span", { class: "soft" }, contents.map(([kind]) => kind).join(", "))),
    ...described(response.description),
    ...contents.flatMap(([, content]) => [element("p", {}, ...typeNodes(asObject(content).schema)), ...examples(content)]),
  );
}

function examples(content) {
  return Object.values(asObject(asObject(content).examples)).map((example) => {
    const { value } = asObject(example);
    return element("pre", { class: "json", dir: "ltr" }, typeof value === "string" ? value : JSON.stringify(value, null, 2));
  });
}

function schemaSection() {
  const nodes = Object.entries(schemas).map(([name, schema]) => {
    const node = element("details", { class: "card operation", id: `schema-${name}` }, element("summary", {}, element("code", {}, name)));
    node.addEventListener("toggle", () => {
      if (!node.open || node.children.length > 1) return;
      node.append(element("div", { class: "operation-body" }, ...described(asObject(schema).description), ...schemaNodes(schema)));
    });
    return node;
  });
  return element("section", { class: "api-section" }, element("h2", {}, translate("schemas")), ...nodes);
}

/** Paragraphs of a description. */
function described(text) {
  return asText(text).split(/\n{2,}/).filter(Boolean).map((part) => element("p", {}, ...marked(part)));
}

/** Text with `code`. */
function marked(text) {
  return asText(text).split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function filter({ target }) {
  const words = target.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const node of root.querySelectorAll(".operation")) {
    const text = `${node.id} ${node.querySelector("summary").textContent}`.toLocaleLowerCase();
    node.hidden = !words.every((word) => text.includes(word));
    found += Number(!node.hidden);
  }
  for (const section of root.querySelectorAll(".api-section")) section.hidden = !section.querySelector(".operation:not([hidden])");
  setText(byId("api-found"), words.length ? translate("found", { count: found }) : "");
}

/** Opens the operation or schema that the address names. */
function openTarget() {
  const node = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!node?.matches(".operation")) return;
  node.open = true;
  node.scrollIntoView();
  node.querySelector("summary").focus();
}

main();
