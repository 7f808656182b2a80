/**
 * The ways by which job-events.js is given events: WebSocket, server-sent events, asking again and again.
 *
 * A transport is a function that is given a link, starts reading and returns what stops it. The type of
 * a link is in job-events.d.ts.
 */

const OVER = new Set(["completed", "failed", "cancelled"]);
/** A server gives a sign of life every 15 seconds, unless its KEEP_ALIVE says otherwise. */
const SILENCE_MS = 45_000;
const POLL_MS = 1_000;
const HIDDEN_POLL_MS = 5_000;
const LAST_POLL_MS = 5_000;
const POLL_LIMIT = 500;
const POLL_WAIT_S = 20;
/** Of a cursor behind which the log was cut. */
const GONE = 410;
/** Answers of a server that speaks no SSE: wrong method or type, not implemented (under WSGI). */
const CANNOT_STREAM = new Set([405, 406, 501]);
/** Refusals that pass. */
const PASSING = new Set([408, 425, 429]);
const PATIENCE = 3;
/**
 * A browser has six connections to a server that speaks HTTP/1.1. Pages in as many tabs must not hold all
 * of them, or nothing else can be loaded.
 */
const HELD_CONNECTIONS = 4;
const nothing = () => {};

/** Close codes from 4500 on say that nothing is gained by coming back. */
export const isFinal = (code) => code >= 4500 && code < 5000;

/** Whether a value is an object of JSON. */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The object in a text; an empty one if there is none. */
export function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/**
 * A WebSocket to an address of the site, closed when it is silent for so long that it must be dead.
 * @param {string} address
 * @param {{opened: () => void, message: (message: Object) => void, closed: (event: {code: number}) => void}} on
 */
export function openSocket(address, on) {
  const url = new URL(address, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  let timer = 0;
  const finish = (event) => {
    clearTimeout(timer);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    if (event) on.closed(event);
  };
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => finish({ code: 1006 }), SILENCE_MS);
  };
  socket.onopen = () => on.opened();
  socket.onmessage = ({ data }) => {
    alive();
    on.message(parseObject(data));
  };
  socket.onclose = finish;
  alive();
  return { send: (text) => socket.send(text), close: () => finish(null) };
}

/**
 * WebSocket.
 * @type {import("./job-events.js").Transport}
 */
export function webSocket(link) {
  if (!("WebSocket" in globalThis)) {
    link.unavailable();
    return nothing;
  }
  let opened = false;
  const controller = new AbortController();
  const { close } = openSocket(`${link.socket}?after=${link.cursor()}${link.query}`, {
    opened: () => (opened = true),
    message: (message) => takeMessage(link, message),
    closed: ({ code }) => {
      if (isFinal(code)) link.refused(code);
      else if (opened || code >= 4000) link.lost();
      // It was turned away, or there are no sockets here: a browser does not tell which.
      else askWhy(link, `${link.root}?after=${link.cursor()}&limit=1${link.query}`, controller.signal);
    },
  });
  return () => {
    controller.abort();
    close();
  };
}

function takeMessage(link, message) {
  if (message.type === "event") deliver(link, message.event);
  else if (message.type === "live") link.live("live");
  else if (message.type === "end") link.end();
  else if (message.type === "reset") link.reset(message);
  else if (message.type === "restart") link.lost(message.retry);
}

function deliver(link, event) {
  if (isObject(event) && typeof event.id === "string") link.deliver(event);
}

/** Asks for the history in the place of a socket that did not open. */
async function askWhy(link, url, signal) {
  try {
    const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
    const { status, ok } = response;
    if (status === GONE) link.reset(cutOf(parseObject(await response.text())));
    else if (isRefusal(status)) link.refused(status);
    else if (ok && !link.proven()) link.unavailable();
    else link.lost();
  } catch {
    if (!signal.aborted) link.lost();
  }
}

/**
 * Server-sent events.
 * @type {import("./job-events.js").Transport}
 */
export function eventSource(link) {
  let stop = nothing;
  const release = holding(
    () => (stop = listen(link)),
    () => link.unavailable(),
  );
  return () => {
    stop();
    release();
  };
}

function listen(link) {
  const source = new EventSource(`${link.root}stream/?after=${link.cursor()}${link.query}`);
  let opened = false;
  source.onopen = () => (opened = true);
  source.onmessage = (message) => deliver(link, parseObject(message.data));
  source.addEventListener("live", () => link.live("live"));
  source.addEventListener("end", () => link.end());
  source.addEventListener("reset", (message) => link.reset(parseObject(message.data)));
  source.addEventListener("restart", (message) => link.lost(parseObject(message.data).retry));
  source.onerror = () => {
    // It would reconnect by itself, but at a fixed pace, and would never say why it was turned away.
    const turnedAway = source.readyState === EventSource.CLOSED && !opened;
    source.close();
    if (turnedAway) askAgain(link, source.url);
    else link.lost();
  };
  return () => source.close();
}

/** Asks once more for what was turned away, to see the answer that an EventSource does not tell. */
async function askAgain(link, url) {
  const controller = new AbortController();
  try {
    const { ok, status, headers } = await fetch(url, { signal: controller.signal });
    const streams = headers.get("Content-Type")?.startsWith("text/event-stream");
    if (CANNOT_STREAM.has(status) || (ok && !streams)) link.unavailable();
    else if (isRefusal(status)) link.refused(status);
    // A proxy that cannot stream may say 502 or 504; one whose server restarts says so too.
    else if (status !== 503 && !link.proven() && link.failures() >= PATIENCE) link.unavailable();
    else link.lost();
  } catch {
    link.lost();
  } finally {
    controller.abort();
  }
}

/**
 * Calls `held` when this page may hold a connection, `denied` when enough other pages of the site do.
 * Returns what lets others hold one.
 */
function holding(held, denied) {
  // Only pages of https, or of this machine, know of each other.
  if (!navigator.locks) {
    held();
    return nothing;
  }
  let release = nothing;
  let wanted = true;
  const kept = new Promise((resolve) => (release = resolve));
  const take = async (slot) => {
    if (slot === HELD_CONNECTIONS) return wanted && denied();
    const taken = await navigator.locks.request(`job-events-${slot}`, { ifAvailable: true }, (lock) => {
      if (!lock) return false;
      if (wanted) held();
      return wanted ? kept.then(() => true) : true;
    });
    return taken || take(slot + 1);
  };
  take(0);
  return () => {
    wanted = false;
    release();
  };
}

/** Whether asking again would not help: the job is gone, the reader logged out. */
function isRefusal(status) {
  return status >= 400 && status < 500 && !PASSING.has(status);
}

const cutOf = (body) => ({ ...body, reason: body.detail });

/**
 * Asks for what follows again and again. Where a page may hold a connection, the answer comes when there
 * is something; a server under WSGI, each of whose workers can answer one at a time, is not made to wait.
 * @type {import("./job-events.js").Transport}
 */
export function polling(link) {
  const controller = new AbortController();
  const { signal } = controller;
  const begin = (wait) =>
    poll(link, wait, signal).catch((error) => {
      if (signal.aborted) return;
      if (error.cut) link.reset(error.cut);
      else if (error.refused) link.refused(error.refused);
      else link.lost();
    });
  const release = holding(
    () => begin(POLL_WAIT_S),
    () => begin(0),
  );
  return () => {
    controller.abort();
    release();
  };
}

async function poll(link, wait, signal) {
  let [wasOver, toWait] = [false, 0];
  while (!signal.aborted) {
    const page = await fetchPage(link, toWait, signal);
    page.results.forEach(link.deliver);
    if (page.next && page.results.length) continue;
    link.live("polling");
    // An event is appended just after the commit that it speaks of: only an empty page that was
    // asked for well after the job was over says that there is no more.
    if (wasOver && !page.results.length) return link.end();
    wasOver = OVER.has(page.job_status);
    toWait = page.waits ? wait : 0;
    if (wasOver) await pause(LAST_POLL_MS, signal);
    else if (!toWait) await pause(document.hidden ? HIDDEN_POLL_MS : POLL_MS, signal);
  }
}

/**
 * A page of what follows; an error has `refused` when asking again would not help, and `cut` when the
 * log begins after the cursor.
 */
async function fetchPage(link, wait, signal) {
  const url = `${link.root}poll/?after=${link.cursor()}&limit=${POLL_LIMIT}&wait=${wait}${link.query}`;
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  const body = parseObject(await response.text());
  if (response.ok) return { results: [], ...body };
  if (response.status === GONE) throw Object.assign(new Error("The log was cut"), { cut: cutOf(body) });
  const refused = isRefusal(response.status) ? response.status : undefined;
  throw Object.assign(new Error(`HTTP ${response.status}`), { refused });
}

/** Waits; a page that comes back into view does not wait. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}
