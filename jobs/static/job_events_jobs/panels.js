/**
 * Parts of the job page: head, errors, tool calls, result. Each changes only what differs.
 */
import { byId, element, setText, Tail } from "./elements.js";
import { isOver } from "./job-state.js";

const SHOWN_TOOLS = 200;

/** Status, phase, progress, buttons. Announces a new status or phase. */
export function createHead(translate, announce) {
  const badge = byId("job-badge").firstElementChild;
  let [status, phase] = [badge.dataset.status, ""];
  return function draw(state) {
    const percent = Math.round(state.progress);
    badge.dataset.status = state.status;
    setText(badge, translate(`status.${state.status}`));
    setText(byId("attempt"), String(state.attempt));
    setText(byId("phase"), isOver(state) ? "" : state.phase);
    setText(byId("phase-note"), isOver(state) ? "" : state.message);
    setText(byId("percent"), translate("percent", { percent }));
    byId("progress").value = percent;
    showButtons(state);
    if (state.status !== status) announce(translate("announce.status", { status: badge.textContent }));
    else if (state.phase && state.phase !== phase) announce(translate("announce.phase", { phase: state.phase }));
    [status, phase] = [state.status, state.phase];
  };
}

function showButtons(state) {
  const [cancel, retry] = [byId("cancel-form"), byId("retry-form")];
  const hadFocus = cancel.contains(document.activeElement);
  cancel.hidden = isOver(state);
  retry.hidden = !["failed", "cancelled"].includes(state.status);
  if (!cancel.hidden) cancel.querySelector("button").disabled = false;
  else if (hadFocus) (retry.hidden ? byId("job-title") : retry.querySelector("button")).focus();
}

/** Errors of the current attempt. */
export function createErrors(translate) {
  return function draw({ errors }) {
    byId("problem").hidden = errors.length === 0;
    byId("problem-list").replaceChildren(
      ...errors.map(({ message, type }) => {
        const item = element("li", { dir: "auto" }, message || translate("error.unnamed"));
        if (type) item.append(" ", element("code", {}, type));
        return item;
      }),
    );
  };
}

/** Tool calls with their inputs and results. */
export function createTools(translate) {
  const scroller = byId("tools");
  const tail = new Tail(scroller);
  const placeholder = scroller.firstElementChild;
  let drawn = new Map();

  return function draw(state) {
    byId("tools-panel").hidden &&= !state.tools.length;
    tail.after(() => {
      const shown = state.tools.slice(-SHOWN_TOOLS);
      const known = drawn;
      drawn = new Map(shown.map((tool) => [tool, known.get(tool) ?? drawTool()]));
      for (const [tool, { node }] of known) if (!drawn.has(tool)) node.remove();
      if (!shown.length) return scroller.replaceChildren(placeholder);
      placeholder.remove();
      for (const [tool, parts] of drawn) {
        if (!parts.node.isConnected) scroller.append(parts.node);
        fillTool(translate, parts, tool, isOver(state));
      }
    });
  };
}

function drawTool() {
  const parts = {
    name: element("span", { class: "tool-name", dir: "auto" }),
    gist: element("span", { class: "tool-gist", dir: "auto" }),
    status: element("span", { class: "tool-status" }),
    body: element("div", { class: "tool-body" }),
  };
  const summary = element("summary", {}, parts.name, parts.gist, parts.status);
  return { ...parts, node: element("details", { class: "tool" }, summary, parts.body) };
}

function fillTool(translate, parts, tool, over) {
  const status = tool.status === "running" && over ? "stopped" : tool.status;
  if (parts.node.dataset.status === status) return;
  parts.node.dataset.status = status;
  setText(parts.name, tool.name || translate("tool.unknown"));
  setText(parts.gist, tool.input.replace(/\s+/g, " ").slice(0, 120));
  setText(parts.status, translate(`tool.${status}`));
  const part = (title, text) =>
    text ? [element("h3", {}, title), element("pre", { class: "json", dir: "auto" }, text)] : [];
  parts.body.replaceChildren(
    ...part(translate("tool.input"), tool.input),
    ...part(translate("tool.output"), tool.output),
  );
}

/** The result as JSON, on pages without a result template. */
export function createResult() {
  const panel = byId("result-panel");
  return function draw(state) {
    if (!panel) return;
    panel.hidden = !isOver(state) || state.result === undefined;
    if (!panel.hidden) setText(byId("result"), JSON.stringify(state.result, null, 2));
  };
}
