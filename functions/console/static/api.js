/* Calls to the API: with the tab's key, and every refusal as one `Problem`. */

const KEPT = "afterimage-key";
const ENDED = new Set(["succeeded", "failed", "canceled"]);
let key = sessionStorage.getItem(KEPT);
let session = new AbortController();

/** What a caller is told when something is refused: a problem document (RFC 9457), or what comes closest. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    Object.assign(this, document);
  }
}

export const signedIn = () => key !== null;

export const hasEnded = (job) => ENDED.has(job.status);

/** Take a key for this tab, if the API takes it; gives the account. */
export async function signIn(given) {
  const account = await call("GET", "/v1/account", { as: given });
  key = given;
  sessionStorage.setItem(KEPT, given);
  return account;
}

/** Forget the key, and end all that was asked with it. */
export function signOut() {
  key = null;
  sessionStorage.removeItem(KEPT);
  session.abort();
  session = new AbortController();
}

/**
 * Ask the API; gives the decoded answer, or null if it has none.
 *
 * Events on `window`: `refused-key` when the key is no longer taken, `reachable` with whether there was an answer.
 */
export async function call(method, path, { body, headers = {}, as = key } = {}) {
  const { signal } = session;
  const sent = as === null ? { ...headers } : { Authorization: `Bearer ${as}`, ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  let document;
  try {
    response = await fetch(path, { method, headers: sent, body: body && JSON.stringify(body), signal });
    document = response.status === 204 ? null : await response.json().catch(() => ({}));
  } catch (error) {
    if (signal.aborted) throw error;
    tell("reachable", false);
    throw new Problem(navigator.onLine ? UNREACHABLE : OFFLINE);
  }
  tell("reachable", true);
  if (signal.aborted) throw new DOMException("signed out", "AbortError");
  if (response.ok) return document;
  if (response.status === 401 && key !== null && as === key) {
    tell("refused-key");
    throw new DOMException("signed out", "AbortError");
  }
  throw new Problem({
    status: response.status,
    code: "gateway",
    // The gateway's own answers have no more than a message.
    title: `The service answered ${response.status}`,
    detail: document.message ?? "It gave no reason.",
    retryable: response.status >= 500 || response.status === 429,
    invalid_fields: [],
    request_id: response.headers.get("x-request-id") ?? response.headers.get("apigw-requestid"),
    ...document,
    retry_after: Number(response.headers.get("retry-after")) || null,
  });
}

const UNREACHABLE = {
  status: 0,
  code: "unreachable",
  title: "The service cannot be reached",
  detail: "Nothing is lost: jobs that were taken go on. Try again in a moment.",
  retryable: true,
  invalid_fields: [],
};
const OFFLINE = { ...UNREACHABLE, code: "offline", title: "You are offline" };

const tell = (name, detail) => window.dispatchEvent(new CustomEvent(name, { detail }));

/** Read one job, which may be a prediction or a training. */
export async function readJob(id, kind = "predictions") {
  try {
    return await call("GET", `/v1/${kind}/${id}`);
  } catch (error) {
    if (error.status !== 404 || kind === "trainings") throw error;
    return readJob(id, "trainings");
  }
}

export const kindOf = (job) => (job.urls.get.includes("/v1/trainings/") ? "trainings" : "predictions");

/** Read a job at the pace that the API advises, until it has ended. What is done with each reading says whether to go on. */
export async function watch(job, onReading) {
  const { signal } = session;
  let failures = 0;
  while (!hasEnded(job)) {
    const seconds = failures ? Math.min(2 ** failures, 30) : job.afterimage.poll_after;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    if (signal.aborted) return;
    try {
      job = await call("GET", `/v1/${kindOf(job)}/${job.id}`);
      failures = 0;
    } catch (error) {
      if (signal.aborted || error.status === 404) return;
      failures += 1;
      continue;
    }
    if (!onReading(job)) return;
  }
}

/**
 * Get a file of ours: its bytes, or null if it is too large to come through the API.
 *
 * With the key it comes from our own origin; without, the link leads to the bucket, which the page may only show.
 */
export async function readFile(url) {
  const headers = { Authorization: `Bearer ${key}` };
  const response = await fetch(url, { headers, redirect: "manual", signal: session.signal });
  return response.ok ? response.blob() : null;
}
