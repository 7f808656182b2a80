/** Calls and tokens of models, from `model_result` events and from the API. */
import { asLine } from "./span-events.js";
import { asObject } from "./untrusted.js";

const MAX_MODELS = 100;
const MAX_COUNT = 1e12;
const OTHER = "other";

const asCount = (value) => (Number.isInteger(value) && value >= 0 && value <= MAX_COUNT ? value : 0);
const FIELDS = ["calls", "input_tokens", "output_tokens"];

export class Usage {
  constructor() {
    this.started = 0;
    /** @type {Map<string, Record<string, number>>} */
    this.models = new Map();
  }

  /** Adds a `model_result`. */
  add(data) {
    let name = asLine(data.model);
    if (!name || (!this.models.has(name) && this.models.size >= MAX_MODELS)) name = OTHER;
    const counts = this.models.get(name) ?? { calls: 0, input_tokens: 0, output_tokens: 0 };
    const usage = asObject(data.usage);
    counts.calls += 1;
    counts.input_tokens += asCount(usage.input_tokens);
    counts.output_tokens += asCount(usage.output_tokens);
    this.models.set(name, counts);
  }

  /** By model, the larger of both counts: the API lags behind, and the events may lack earlier ones. */
  merged(ofApi) {
    const names = new Set([...Object.keys(ofApi).slice(0, MAX_MODELS), ...this.models.keys()]);
    const larger = (name, field) => Math.max(asCount(asObject(ofApi[name])[field]), this.models.get(name)?.[field] ?? 0);
    const counts = (name) => Object.fromEntries(FIELDS.map((field) => [field, larger(name, field)]));
    return Object.fromEntries([...names].map((name) => [name, counts(name)]));
  }

  calls(merged) {
    return Math.max(this.started, sum(merged, "calls"));
  }

  /** @returns {{input: number, output: number}|null} Null if no model reported its tokens. */
  tokens(merged) {
    const [input, output] = [sum(merged, "input_tokens"), sum(merged, "output_tokens")];
    return input || output ? { input, output } : null;
  }
}

const sum = (usage, field) => Object.values(usage).reduce((total, counts) => total + counts[field], 0);
