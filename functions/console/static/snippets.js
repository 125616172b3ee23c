/* The same request as code: for a shell, for Python, and for Replicate's own client. None of them shows the key. */

import { copy, h, icon } from "./dom.js";

const LONGEST = 200; // characters: a file as a data URI is replaced

const SHELL = "export AFTERIMAGE_KEY=…   # your API key\n";

/** `body` is that of `path`; `input` and `model` are what Replicate's client is told, if it can do the same. */
export function snippets({ path, body, model, input }) {
  const url = `${location.origin}${path}`;
  const found = { curl: curl({ url, body: shortened(body), waits: true }), Python: python(url, shortened(body)) };
  if (model) found["Replicate’s client"] = client(model, shortened(input));
  return found;
}

export function curl({ url, method = "post", body, isPublic = false, waits = false }) {
  const isUsual = method === (body ? "post" : "get");
  const lines = [`curl -sS ${isUsual ? "" : `-X ${method.toUpperCase()} `}${/[{}]/.test(url) ? `'${url}'` : url}`];
  if (!isPublic) lines.push(`-H "Authorization: Bearer $AFTERIMAGE_KEY"`);
  if (body) {
    lines.push(`-H 'Content-Type: application/json'${waits ? " -H 'Prefer: wait'" : ""}`);
    lines.push(`-d '${JSON.stringify(body, null, 2).replaceAll("'", "'\\''")}'`);
  }
  return (isPublic ? "" : SHELL) + lines.join(" \\\n  ");
}

function python(url, body) {
  return `import os
import requests

answer = requests.post(
    "${url}",
    headers={"Authorization": f"Bearer {os.environ['AFTERIMAGE_KEY']}", "Prefer": "wait"},
    json=${literal(body, "    ")},
)
print(answer.json())`;
}

function client(model, input) {
  return `import os
import replicate

client = replicate.Client(base_url="${location.origin}", api_token=os.environ["AFTERIMAGE_KEY"])
print(client.run("${model}", input=${literal(input, "")}))`;
}

function shortened(value) {
  if (typeof value === "string" && value.startsWith("data:") && value.length > LONGEST) {
    return `${value.slice(0, value.indexOf(",") + 1)}…`;
  }
  if (Array.isArray(value)) return value.map(shortened);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shortened(inner)]));
}

/** Write JSON as Python does. */
function literal(value, indent) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const deeper = `${indent}    `;
  const lines = Array.isArray(value)
    ? value.map((inner) => `${deeper}${literal(inner, deeper)},\n`)
    : Object.entries(value).map(([name, inner]) => `${deeper}${JSON.stringify(name)}: ${literal(inner, deeper)},\n`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return lines.length ? `${open}\n${lines.join("")}${indent}${close}` : open + close;
}

/** A block of code with a button that copies it. */
export function code(text, what) {
  return h(
    "div.code",
    {},
    h("pre", { tabindex: 0, role: "region", "aria-label": what }, h("code", {}, text)),
    h("button.quiet", { type: "button", "aria-label": `Copy ${what}`, onclick: () => copy(text, what) }, icon("copy"), "Copy"),
  );
}

/** Code that unfolds, one of several kinds at a time; `ask` gives what it is about when it is looked at. */
export function codePanel(ask) {
  let chosen = "curl";
  const place = h("div");
  const panel = h("details.as-code", { ontoggle: unfold }, h("summary", {}, "As code"), place);

  function unfold() {
    if (!panel.open) return;
    show();
    panel.scrollIntoView({ block: "nearest" });
  }

  function show() {
    const found = snippets(ask());
    if (!(chosen in found)) chosen = "curl";
    const choices = Object.keys(found).map((name) =>
      h("button", { type: "button", "aria-pressed": String(name === chosen), onclick: () => choose(name) }, name),
    );
    place.replaceChildren(h("div.segments", { role: "group", "aria-label": "Language" }, choices), code(found[chosen], chosen));
  }

  function choose(name) {
    chosen = name;
    show();
    panel.querySelector("[aria-pressed=true]").focus();
  }

  return Object.assign(panel, { refresh: () => panel.open && show() });
}
