/** Refused requests, and the delays between attempts. */

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 15_000;
/** Temporary refusals. */
const TRANSIENT_STATUSES = new Set([408, 425, 429]);
const NOT_LOGGED_IN = "Not logged in; a page of another origin needs the option `ticket`.";
const INVALID = "The job_id or the cursor is invalid.";
/** By HTTP status or close code. */
const REFUSALS = {
  400: INVALID,
  401: NOT_LOGGED_IN,
  403: NOT_LOGGED_IN,
  404: "The job does not exist, or the user may not see it.",
  501: "This browser has no WebSocket.",
  4500: INVALID,
};

/** Exponential backoff with jitter. */
export function retryDelay(failures) {
  const full = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
  return full * (0.5 + Math.random() / 2);
}

/** True if retrying would not help: the job is gone, the user logged out. */
export function isRefusal(status) {
  return status >= 400 && status < 500 && !TRANSIENT_STATUSES.has(status);
}

/** The detail of the status "ended" after a refusal. */
export function refusal(status) {
  const reason = REFUSALS[status] ?? "The server refused the connection.";
  return { refused: status, message: `${reason} (${status})` };
}
