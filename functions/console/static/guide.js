/* The page about the API: which base URL each client wants, the two interfaces, and all operations. */

import { byId, h } from "./dom.js";
import { reference, unfold } from "./reference.js";

const page = byId("page-api");
const origin = location.origin;

const CLIENTS = [
  ["Python, replicate 1.0.7", origin, `replicate.Client(base_url="${origin}", api_token=KEY)`],
  ["Python, replicate 2.0.0b4", `${origin}/v1`, `replicate.Replicate(base_url="${origin}/v1", bearer_token=KEY)`],
  ["JavaScript, replicate", `${origin}/v1`, `new Replicate({ baseUrl: "${origin}/v1", auth: KEY })`],
  ["Vercel’s AI SDK", `${origin}/v1`, `createReplicate({ baseURL: "${origin}/v1", apiToken: KEY })`],
  ["HTTP, curl", origin, `Authorization: Bearer KEY`],
];

const REPLICATES = `POST   /v1/models/{owner}/{name}/predictions
GET    /v1/predictions/{id}
GET    /v1/predictions
POST   /v1/predictions/{id}/cancel
DELETE /v1/predictions/{id}`;

const SHORT = `POST   /generate
GET    /predictions/{id}
GET    /predictions?status=&cursor=
POST   /predictions/{id}/cancel
DELETE /predictions/{id}`;

/** Show the page, and unfold the operation that is `wanted`, if there is one. */
export async function showGuide(wanted) {
  if (page.childElementCount) return void (wanted && unfold(wanted));
  const operations = h("div", {}, h("p.hint", {}, "Loading…"));
  page.replaceChildren(
    h("h1", { id: "api-title", tabindex: -1 }, "API"),
    h("p.lead", {}, "Whatever this page does, your programs can do: it uses nothing but the API."),
    h("h2", {}, "Point your client here"),
    h("p", {}, "A client of Replicate’s changes its base URL and its token, and nothing else."),
    h(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": "Base URLs" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ["Client", "Base URL", "How to say it"].map((words) => h("th", { scope: "col" }, words)))),
        h("tbody", {}, CLIENTS.map(([name, url, how]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, h("code", {}, url)), h("td", {}, h("code", {}, how))))),
      ),
    ),
    h("h2", {}, "Two interfaces, the same jobs"),
    h(
      "div.columns",
      {},
      h(
        "section",
        {},
        h("h3", {}, "Replicate’s"),
        h("p", {}, "Below /v1, with Replicate’s paths and documents. What Replicate does not have is under one key, ", h("code", {}, "afterimage"), ": progress, files, cost, problem."),
        h("pre", { tabindex: 0, role: "region", "aria-label": "Replicate’s interface" }, REPLICATES),
      ),
      h(
        "section",
        {},
        h("h3", {}, "The short one"),
        h("p", {}, "For a client written by hand: a prompt in, images out. Presets, several prompts and more images than a model makes at once are here."),
        h("pre", { tabindex: 0, role: "region", "aria-label": "The short interface" }, SHORT),
      ),
    ),
    h("h2", {}, "Good to know"),
    h(
      "dl.hints",
      {},
      [
        ["Never pay twice", "Send an Idempotency-Key with whatever starts something: a repetition meets the same job."],
        ["Wait", "Prefer: wait holds the answer until the job has ended, for 25 seconds at most unless the operator says otherwise. Else ask again when poll_after, or Retry-After, says so."],
        ["Clients that do not poll", "AI SDK 6 fails on whatever takes longer than it may wait. The README has a fetch for it, pollingFetch, which also keeps repeats from being paid twice."],
        ["Files", "Their links are signed and need no key. Read the job again when a link is too old: it has new ones."],
        ["Errors", "Every refusal is a problem document (RFC 9457) with a stable code, whether it can be retried, and a request id to quote."],
      ].map(([term, words]) => h("div", {}, h("dt", {}, term), h("dd", {}, words))),
    ),
    h("h2", {}, "All operations"),
    h("p", {}, "Made of the code that serves them; also as OpenAPI 3.1: ", h("a", { href: "/openapi.json", target: "_blank", rel: "noopener" }, "openapi.json"), "."),
    operations,
  );
  operations.replaceChildren(...(await reference()));
  if (wanted) unfold(wanted);
}
