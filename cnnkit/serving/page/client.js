// What the page asks of its server, and when.

const LONGEST_MS = 60_000;
const AWAY_SECONDS = 3;

/** Why there is no answer, in words; `retrySeconds` says when to ask again, where that may help. */
export class Problem extends Error {
  constructor(message, { status = 0, retrySeconds = null } = {}) {
    super(message);
    this.status = status;
    this.retrySeconds = retrySeconds;
  }
}

/** Return what the server serves. */
export async function fetchModels() {
  return (await ask("models")).models;
}

/** Return the answer for an image, with `roundTripMs` added. */
export async function predict(model, image, show, signal) {
  const query = show.length ? `?${new URLSearchParams({ show: show.join(",") })}` : "";
  const started = performance.now();
  const answer = await ask(`predict/${encodeURIComponent(model)}${query}`, {
    method: "POST",
    body: image,
    headers: { "Content-Type": image.type || "application/octet-stream" },
    signal,
  });
  return { ...answer, roundTripMs: performance.now() - started };
}

const KEY = "cnnkit-api-key";

/** Return the header with the API key that was typed in, where one was. */
function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function ask(path, { signal, ...options } = {}) {
  const controller = new AbortController();
  let late = false;
  const timer = setTimeout(() => controller.abort((late = true)), LONGEST_MS);
  signal?.addEventListener("abort", () => controller.abort());
  let response;
  let answer;
  try {
    const headers = { ...options.headers, ...keyHeader() };
    response = await fetch(path, { cache: "no-store", ...options, headers, signal: controller.signal });
    answer = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (late) throw new Problem(`The server did not answer within ${LONGEST_MS / 1000} seconds.`);
    if (error instanceof SyntaxError) throw new Problem(`The server answered with status ${response.status} and no JSON.`);
    throw new Problem("The server cannot be reached. Is it still running?", { retrySeconds: AWAY_SECONDS });
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return answer;
  if (response.status === 401) {
    const key = window.prompt("This server requires an API key:");
    if (key) {
      sessionStorage.setItem(KEY, key.trim());
      return ask(path, { signal, ...options });
    }
  }
  const said = answer?.error?.message ?? `The server refused with status ${response.status}.`;
  const after = Number(response.headers.get("Retry-After"));
  throw new Problem(said, {
    status: response.status,
    retrySeconds: response.status === 503 ? Math.max(1, after || 1) : null,
  });
}

/**
 * Runs a task for the newest state of things: soon after it is asked for, never twice at a time, and again where
 * something was asked for meanwhile. A task that gives a number is run again after as many milliseconds.
 */
export class Latest {
  #task;
  #delayMs;
  #timer = 0;
  #running = null;
  #wanted = false;

  constructor(task, delayMs) {
    this.#task = task;
    this.#delayMs = delayMs;
  }

  /** Ask for a run; one that waits or runs already counts, and is followed by another where things have changed. */
  ask(delayMs = this.#delayMs) {
    this.#wanted = true;
    if (this.#timer || this.#running) return;
    this.#timer = setTimeout(() => this.#run(), delayMs);
  }

  /** Ask for a run without a delay, whatever waits. */
  askNow() {
    this.#stopWaiting();
    this.ask(0);
  }

  /** Forget what was asked for, and tell the run that goes on. */
  cancel() {
    this.#stopWaiting();
    this.#wanted = false;
    this.#running?.abort();
  }

  #stopWaiting() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  async #run() {
    this.#timer = 0;
    this.#wanted = false;
    const controller = (this.#running = new AbortController());
    let again;
    try {
      again = await this.#task(controller.signal);
    } finally {
      this.#running = null;
      if (again !== undefined) this.ask(again);
      else if (this.#wanted) this.ask();
    }
  }
}
