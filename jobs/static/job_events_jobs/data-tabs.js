/**
 * The tabs "Result" and "Input": a JSON value as a tree, a text as text. Both can be copied and saved.
 */
import { TERMINAL } from "../job_events/job-attempts.js";
import { expandTree, jsonText, jsonTree, textBlock } from "../job_events/json-tree.js";
import { copyFrom } from "./copy-button.js";
import { element, smallButton } from "./elements.js";
import { save } from "./files.js";
import { addTabStyles } from "./tab-styles.js";

const TEXT_CHARS = 20_000;

/** @param {HTMLElement} root  The panel of the tab, with the id "panel-result" or "panel-input". */
export function createTab(root, page) {
  addTabStyles();
  return root.id === "panel-input" ? new DataTab(root, page, "input", inputOf) : new DataTab(root, page, "result", resultOf);
}

/** @returns {{value: unknown, missing: string}} The value, or the name of the text that explains its absence. */
function resultOf({ model }) {
  const value = model.result ?? null;
  const isOver = TERMINAL.has(model.status);
  return { value, missing: isOver ? "result.none" : "result.later" };
}

function inputOf({ job }) {
  const value = job?.payload ?? null;
  const isEmpty = value !== null && typeof value === "object" && !Object.keys(value).length;
  return { value: isEmpty ? null : value, missing: "input.none" };
}

class DataTab {
  constructor(root, page, name, read) {
    Object.assign(this, { page, name, read, translate: page.translate, drawn: undefined });
    this.body = element("div", { class: "data-tab" });
    // The server has drawn the value for pages without scripts, unless the project has a template for it.
    root.querySelector(`#${name}-body`)?.remove();
    const template = root.querySelector("#job-result");
    if (template) this.raw = element("details", { class: "data-raw" }, element("summary", {}, this.translate("result.raw")), this.body);
    root.append(this.raw ?? this.body);
  }

  draw() {
    const { value, missing } = this.read(this.page);
    const key = value === null ? missing : value;
    if (key === this.drawn) return;
    const text = value === null ? null : typeof value === "string" ? value : jsonText(value);
    const isSame = text !== null && text === this.text;
    Object.assign(this, { drawn: key, text });
    if (isSame) return;
    if (this.raw) this.raw.hidden = value === null;
    if (value === null) this.body.replaceChildren(element("p", { class: "soft" }, this.translate(missing)));
    else this.body.replaceChildren(this.actions(value), this.view(value));
  }

  view(value) {
    const { translate } = this;
    return typeof value === "string" ? textBlock(value, { translate, chars: TEXT_CHARS }) : jsonTree(value, { translate, open: 3 });
  }

  actions(value) {
    const { translate } = this;
    const isText = typeof value === "string";
    const fileName = `${this.page.config.jobId}-${this.name}.${isText ? "txt" : "json"}`;
    const type = isText ? "text/plain" : "application/json";
    const buttons = [
      smallButton(translate("data.copy"), ({ currentTarget }) => copyFrom(currentTarget, this.text ?? "", this.page)),
      smallButton(translate("data.save"), () => save(new Blob([this.text ?? ""], { type }), fileName)),
    ];
    const tree = () => this.body.querySelector(".json-tree");
    if (!isText) buttons.push(smallButton(translate("json.expand"), () => expandTree(tree())));
    return element("p", { class: "data-actions" }, ...buttons);
  }
}
