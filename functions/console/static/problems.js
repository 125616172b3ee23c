/* Refusals and failures in plain words: what it was, what to do, and what to quote when asking for help. */

import { action, copy, h, icon } from "./dom.js";

const ADVICE = {
  budget_exceeded: "The budget starts anew at midnight UTC. Fewer images or a cheaper model may still fit.",
  rate_limited: "Wait a moment, then try again.",
  too_many_in_flight: "Let some of the running jobs end first.",
  model_not_allowed: "Choose another model, or ask the operator to allow this one.",
  nsfw_content: "Another prompt or another seed may pass.",
  out_of_memory: "Fewer or smaller images need less.",
  deadline_exceeded: "Models that nobody has used for a while take minutes to wake up: again may be faster.",
  outcome_unknown: "It is not repeated by itself, so that nothing is paid twice.",
  upstream_failed: "The end of the logs may say why.",
  upstream_unavailable: "Try again in a moment.",
  files_expired: "What made them is still here: start it again.",
  internal: "This is not your fault. Report it with the request id.",
};

/** A box with one problem; `focus()` takes the reader there. */
export function problemBox(problem, { role = "alert", without = [] } = {}) {
  const fields = problem.invalid_fields.filter((one) => !without.includes(one.field));
  const lines = fields.map((one) => `${one.field.replace(/^input\./, "")}: ${one.description}`);
  const hasOnlyFields = problem.invalid_fields.length > 0;
  const later = problem.retry_after ? ` In ${problem.retry_after} s, to be exact.` : "";
  return h(
    "div.problem",
    { role, tabindex: -1 },
    icon("alert"),
    h(
      "div",
      {},
      h("p.problem-title", {}, problem.title),
      hasOnlyFields ? null : h("p", {}, problem.detail),
      lines.length ? h("ul", {}, lines.map((line) => h("li", {}, line))) : null,
      problem.code in ADVICE ? h("p", {}, ADVICE[problem.code] + later) : null,
      h(
        "p.reference",
        {},
        h("code", {}, problem.code),
        problem.request_id
          ? ["request ", h("code", {}, problem.request_id), action("copy", "Copy", () => copy(reference(problem), "Reference"), "tiny")]
          : null,
      ),
    ),
  );
}

const reference = (problem) => `${problem.code}, request ${problem.request_id}`;
