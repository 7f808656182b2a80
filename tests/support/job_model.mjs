// Reads {events, job, trim} as JSON from standard input; writes what the model of the browser derives from them.
import { readFileSync } from "node:fs";

const { JobModel } = await import(new URL("../../events/static/job_events/job-model.js", import.meta.url));
const { events, job, window } = JSON.parse(readFileSync(0, "utf8"));
const model = new JobModel(job);
const held = [];
for (const event of events) {
  model.add(event);
  held.push(event);
  if (window && held.length > window) model.trim(held.splice(0, window / 5));
}
const attempts = model.attempts.map(({ number, status, error, phase, progress, start, end }) => ({
  number, status, error, phase, progress, seconds: end === null ? null : (end - start) / 1000, fatal: model.fatalOf(number),
}));
const facts = Object.fromEntries(
  ["status", "attempt", "phase", "progress", "message", "queueSeconds", "firstEventSeconds", "modelCalls", "toolCalls",
    "toolErrors", "tokens", "usage", "worker", "handledErrors", "retries", "fatal", "errorCount", "result"].map((name) => [name, model[name]]),
);

/** Without recursion: a log may nest thousands of spans. */
function rows(roots) {
  const found = [];
  const waiting = roots.map((span) => [span, 0]).reverse();
  while (waiting.length) {
    const [span, depth] = waiting.pop();
    const { kind, name, status, isFatal, branch, detail, text, count } = span;
    found.push({ depth, kind, name, status, isFatal, branch, detail, text, count, seconds: (span.end - span.start) / 1000, error: span.error?.message ?? "" });
    for (const child of [...span.children].reverse()) waiting.push([child, depth + 1]);
  }
  return found;
}

const spans = Object.fromEntries(attempts.map(({ number }) => [number, rows(model.roots(number))]));
const output = {
  ...facts, attempts, spans, questions: [...model.questions.values()], types: Object.fromEntries(model.types),
  held: { spans: model.spans.size, byEvent: model.tree.byEvent.size, open: model.tree.open.size, failed: model.tree.failed.size },
};
process.stdout.write(JSON.stringify(output));
