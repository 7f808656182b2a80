/**
 * The transports of job-events.js: WebSocket, SSE and polling.
 *
 * A transport is a function that takes a link, starts reading and returns a function that stops it. The
 * type of a link is in job-events.d.ts.
 */
import { isRefusal } from "./retry.js";

/** The server sends a keep-alive every 15 seconds by default (KEEP_ALIVE). */
const SILENCE_MS = 45_000;
const POLL_MS = 1_000;
const HIDDEN_POLL_MS = 5_000;
const POLL_LIMIT = 500;
const POLL_WAIT_S = 20;
/** The log was truncated after this cursor. */
const GONE = 410;
/** Status codes of servers without SSE: wrong method or type, not implemented (under WSGI). */
const CANNOT_STREAM = new Set([405, 406, 501]);
const MAX_STREAM_FAILURES = 3;
/**
 * A browser opens at most six HTTP/1.1 connections to a server. The tabs of a site must not occupy all of
 * them, or nothing else can be loaded.
 */
const HELD_CONNECTIONS = 4;
/** Keys in localStorage. Browsers delay the timers of hidden pages, which renew the leases, by up to a minute. */
const LEASE = "job-events-held-";
const LEASE_MS = 120_000;
const SETTLE_MS = 300;
const nothing = () => {};

/** After close codes from 4500 to 4999 reconnecting is useless. */
export const isFinal = (code) => code >= 4500 && code < 5000;

/** True for a JSON object. */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Parses a JSON object; returns an empty one for any other text. */
export function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

/**
 * Opens a WebSocket, and closes it if nothing arrives for SILENCE_MS.
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
      // Refused, or no WebSocket support on the server: the browser does not say which.
      else probe(link, `${link.root}poll/?after=${link.cursor()}&limit=1${link.query}`, controller.signal);
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

/** Sends a poll, which accepts tickets, after a failed handshake, to learn the reason. */
async function probe(link, url, signal) {
  try {
    const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
    const { status, ok } = response;
    if (status === GONE) link.reset(resetOf(parseObject(await response.text())));
    else if (isRefusal(status)) link.refused(status);
    else if (ok && !link.proven()) link.unavailable();
    else link.lost();
  } catch {
    if (!signal.aborted) link.lost();
  }
}

/**
 * SSE.
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
    // An EventSource would reconnect by itself, but at a fixed interval and without reporting refusals.
    const refused = source.readyState === EventSource.CLOSED && !opened;
    source.close();
    if (refused) probeStream(link, source.url);
    else link.lost();
  };
  return () => source.close();
}

/** Repeats a refused request, to read the status that an EventSource hides. */
async function probeStream(link, url) {
  const controller = new AbortController();
  try {
    const { ok, status, headers } = await fetch(url, { signal: controller.signal });
    const streams = headers.get("Content-Type")?.startsWith("text/event-stream");
    if (CANNOT_STREAM.has(status) || (ok && !streams)) link.unavailable();
    else if (isRefusal(status)) link.refused(status);
    // A proxy that cannot stream may answer 502 or 504; so does one whose server restarts.
    else if (status !== 503 && !link.proven() && link.failures() >= MAX_STREAM_FAILURES) link.unavailable();
    else link.lost();
  } catch {
    link.lost();
  } finally {
    controller.abort();
  }
}

/**
 * Calls `held` if this page may hold a connection, `denied` if enough other pages of the site do.
 * Returns a function that releases it.
 */
function holding(held, denied) {
  if (!navigator.locks) return leasing(held, denied);
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
  // A document without an origin, such as a sandboxed frame, may not use locks.
  take(0).catch(() => wanted && (release = leasing(held, denied)));
  return () => {
    wanted = false;
    release();
  };
}

/**
 * The same on a page without the Web Locks API, which exists only in secure contexts. Each connection is a
 * lease in localStorage, and the first HELD_CONNECTIONS leases are valid. A new one is compared with the
 * others after SETTLE_MS, when each tab has seen the leases of the others.
 */
function leasing(held, denied) {
  const key = `${LEASE}${Date.now()}-${Math.random()}`;
  let timer = 0;
  const renew = () => localStorage.setItem(key, Date.now() + LEASE_MS);
  // Another tab has cleared the storage, as some pages do at logout.
  const restore = (change) => [key, null].includes(change.key) && renew();
  const release = () => {
    clearTimeout(timer); // or the interval
    removeEventListener("storage", restore);
    localStorage.removeItem(key);
  };
  const decide = () => {
    if (earlierLeases(key) >= HELD_CONNECTIONS) {
      release();
      return denied();
    }
    timer = setInterval(renew, LEASE_MS / 4);
    held();
  };
  try {
    renew();
  } catch {
    // No storage: the other tabs would not know of this connection.
    timer = setTimeout(denied);
    return () => clearTimeout(timer);
  }
  addEventListener("storage", restore);
  timer = setTimeout(decide, SETTLE_MS);
  return release;
}

/** Counts the leases before `key`. Deletes those of pages that ended without releasing them. */
function earlierLeases(key) {
  const now = Date.now();
  const leases = Object.keys(localStorage).filter((name) => name.startsWith(LEASE));
  const left = (name) => localStorage.getItem(name) - now;
  leases.filter((name) => !(left(name) > 0 && left(name) <= LEASE_MS)).forEach((name) => localStorage.removeItem(name));
  return leases.filter((name) => name < key && left(name) > 0).length;
}

const resetOf = (body) => ({ ...body, reason: body.detail });

/**
 * Polling. If the page may hold a connection, it uses long-poll; a WSGI server, whose workers serve one
 * request at a time, is not made to wait.
 * @type {import("./job-events.js").Transport}
 */
export function polling(link) {
  const controller = new AbortController();
  const { signal } = controller;
  const begin = (wait) =>
    poll(link, wait, signal).catch((error) => {
      if (signal.aborted) return;
      if (error.reset) link.reset(error.reset);
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
  let toWait = 0;
  while (!signal.aborted) {
    const page = await fetchPage(link, toWait, signal);
    page.results.forEach(link.deliver);
    if (page.next && page.results.length) continue;
    link.live("polling");
    if (page.end) return link.end();
    toWait = page.waits ? wait : 0;
    if (!toWait) await pause(document.hidden ? HIDDEN_POLL_MS : POLL_MS, signal);
  }
}

/**
 * Fetches the next page. An error has `refused` if retrying would not help, and `reset` if the log was
 * truncated after the cursor.
 */
async function fetchPage(link, wait, signal) {
  const url = `${link.root}poll/?after=${link.cursor()}&limit=${POLL_LIMIT}&wait=${wait}${link.query}`;
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  const body = parseObject(await response.text());
  if (response.ok) return { results: [], ...body };
  if (response.status === GONE) throw Object.assign(new Error("The log was truncated"), { reset: resetOf(body) });
  const refused = isRefusal(response.status) ? response.status : undefined;
  throw Object.assign(new Error(`HTTP ${response.status}`), { refused });
}

/** Waits; returns early when the page becomes visible. */
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
