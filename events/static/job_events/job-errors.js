/**
 * Which errors of a job were handled, and which one ended an attempt.
 *
 * An error of a span was handled if the span around it went on. The error that ended an attempt is traced
 * from the event that ended it to the span that raised it.
 */

const MAX_PATH = 10_000;

/**
 * Sets `status` and `isFatal` of the spans that failed.
 * @param {import("./job-spans.js").SpanTree} tree
 * @param {Map<number, import("./job-attempts.js").Attempt>} attempts
 * @returns {number} The number of errors that were handled.
 */
export function resolveErrors(tree, attempts) {
  const decided = new Map();
  for (const attempt of attempts.values()) {
    if (!attempt.failure) continue;
    for (const span of fatalPath(tree, attempt)) {
      decided.set(span, "failed");
      span.isFatal = true;
    }
  }
  let handled = 0;
  for (const span of tree.failed) {
    span.status = statusOf(span, decided, tree, attempts);
    span.isFatal &&= span.status === "failed";
    span.isCounted = isHandled(span, attempts.get(span.attempt)?.failure) && !causeOf(span, tree);
    handled += Number(span.isCounted);
  }
  return handled;
}

/**
 * A step and its parent with the same error count as one failure, that of the parent. A retry did not handle the
 * error that then ended the attempt.
 */
function isHandled({ status, error, isStep, parent }, failure) {
  const isOwn = !isStep || !parent || parent.error !== error;
  const isPassed = status === "handled" || (status === "retry" && !isSame(failure?.message ?? "", error));
  return isPassed && Boolean(error?.message) && isOwn;
}

/** The spans from the one that ended the attempt to the one that raised the error. */
function fatalPath(tree, attempt) {
  const { spanId, message } = attempt.failure;
  const first = tree.spans.get(spanId) ?? failedRoot(tree.roots.get(attempt.number) ?? [], message);
  const path = new Set();
  for (let span = first; span && !path.has(span) && path.size < MAX_PATH; span = causeOf(span, tree)) {
    // The spans between a run and the one that raised its error.
    for (let each = span; each && !path.has(each); each = each.parent) path.add(each);
    attempt.origin = span;
  }
  return [...path].filter((span) => span.outcome === "failed" || span.isStep);
}

function failedRoot(roots, message) {
  const failed = roots.slice(-1_000).filter((span) => span.outcome === "failed");
  return failed.findLast((span) => isSame(message, span.error)) ?? failed.at(-1);
}

const isSame = (text, error) => Boolean(error?.message) && text.includes(error.message);

/** The span that raised the error of a span, or null if it is its own. */
function causeOf(span, tree) {
  for (const id of span.causeIds) {
    const cause = tree.spans.get(id);
    if (cause && cause !== span) return cause;
  }
  if (span.outcome === "error") return null;
  const last = span.failedChildren.findLast((child) => child.outcome === "failed");
  if (!last) return null;
  const wentOn = span.children.at(-1).start > last.end && !span.children.at(-1).isStep;
  return isSame(span.error?.message ?? "", last.error) || !wentOn ? last : null;
}

function statusOf(span, decided, tree, attempts) {
  const chain = [];
  let each = span;
  while (!decided.has(each) && each.parent?.outcome === "failed" && each.outcome === "failed" && chain.length < MAX_PATH) {
    chain.push(each);
    if (!isCause(each, each.parent, tree)) break;
    each = each.parent;
  }
  const known = decided.get(each) ?? ownStatus(each, attempts.get(each.attempt));
  for (const one of chain) decided.set(one, decided.get(one) ?? known);
  return decided.get(span) ?? known;
}

function isCause(child, parent, tree) {
  return parent.causeIds.includes(child.id) || child.causeIds.some((id) => parent.causeIds.includes(id)) || causeOf(parent, tree) === child;
}

/** The status of an error that is not that of the span around it. */
function ownStatus(span, attempt) {
  const { parent, outcome } = span;
  const outcomeAround = parent ? parent.outcome : attempt?.status;
  const isOver = parent ? parent.end !== null : Boolean(attempt?.isOver);
  if (outcome === "retry") return "retry";
  if (outcome === "error") return isOver ? "handled" : "error";
  if (!isOver) return "failed";
  return !parent && outcomeAround === "failed" ? "failed" : "handled";
}
