/* The OpenAPI document as a page for people: every operation, with what it takes and what it answers. */

import { call, Problem } from "./api.js";
import { h } from "./dom.js";
import { problemBox } from "./problems.js";
import { code, curl } from "./snippets.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 4; // levels of fields within fields
const MOST_WORDS = 6; // of an enumeration, before it is cut

let parts = {}; // the document's components

/** Give the operations by their groups; all fold out. */
export async function reference() {
  try {
    const document_ = await call("GET", "/openapi.json");
    parts = document_.components;
    const all = Object.entries(document_.paths).flatMap(([path, methods]) =>
      METHODS.filter((method) => method in methods).map((method) => ({ path, method, ...methods[method] })),
    );
    return document_.tags.map(({ name, description }) =>
      h(
        "section.group",
        {},
        h("h3", {}, name),
        h("p", {}, ...written(description)),
        all.filter((one) => one.tags.includes(name)).map(operation),
      ),
    );
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [problemBox(error)];
  }
}

/** Unfold the operation that the address names, and take the reader there. */
export function unfold(id) {
  const found = document.getElementById(`operation-${id}`);
  if (!found) return;
  found.open = true;
  found.scrollIntoView({ block: "start" });
  found.querySelector("summary").focus({ preventScroll: true });
}

function operation(one) {
  const place = h("div.unfolded");
  const details = h(
    "details.operation",
    { id: `operation-${one.operationId}`, ontoggle: () => details.open && show() },
    h("summary", {}, h(`b.method.${one.method}`, {}, one.method.toUpperCase()), h("code", {}, one.path), h("span.summary", {}, one.summary)),
    place,
  );
  function show() {
    history.replaceState(null, "", `#api/${one.operationId}`);
    if (!place.childElementCount) place.append(...described(one));
  }
  return details;
}

function described(one) {
  const inputs = (one.parameters ?? []).map(resolve);
  const [type, body] = Object.entries(one.requestBody?.content ?? {})[0] ?? [];
  const example = Object.values(body?.examples ?? {})[0]?.value;
  const isPublic = one.security?.length === 0;
  return [
    one.description ? h("p", {}, ...written(one.description)) : null,
    isPublic ? h("p.hint", {}, "Needs no API key.") : null,
    inputs.length ? h("h4", {}, "Parameters") : null,
    inputs.length
      ? rows(inputs.map(({ name, schema, in: where, required, description: told }) => row(name, schema, { also: [where, required && "required"], told })))
      : null,
    body ? h("h4", {}, `Body, ${type}`) : null,
    body ? fieldsOf(body.schema, { rare: "", usual: "required" }) : null,
    body && !example ? null : h("h4", {}, "Example"),
    body && !example ? null : code(curl({ method: one.method, url: `${location.origin}${one.path}`, body: example, isPublic }), "curl"),
    h("h4", {}, "Answers"),
    h("div.answers", {}, Object.entries(one.responses).map(([status, answer]) => answered(status, resolve(answer)))),
  ].filter(Boolean);
}

function answered(status, { description, content = {} }) {
  const schema = content["application/problem+json"]?.schema ?? content["application/json"]?.schema;
  const codes = content["application/problem+json"]?.schema.properties.code.enum ?? [];
  const words = h("span", {}, h(`b.status.of-${status[0]}`, {}, status), codes.length ? codes.map((each) => h("code", {}, each)) : written(description));
  if (!schema || codes.length) return h("p.answer", {}, words);
  return h("details.answer", {}, h("summary", {}, words), fieldsOf(schema, { rare: "not always there", usual: "" }));
}

/* ---- Schemas ---- */

const resolve = (part) => {
  if (!part.$ref) return part;
  const [kind, name] = part.$ref.split("/").slice(2);
  return { ...parts[kind][name], ...part, $ref: undefined, called: name };
};

const optionsOf = (schema) => (schema.anyOf ?? schema.oneOf ?? [schema]).map(resolve);

/** What can be looked into: the objects that a schema allows, also those in its lists. */
function objectsOf(schema) {
  return optionsOf(resolve(schema)).flatMap((one) => {
    if (one.properties) return [one];
    if (one.items) return objectsOf(one.items);
    return one.anyOf || one.oneOf ? objectsOf(one) : [];
  });
}

/** The fields of a schema; `usual` is said of those that are always there, `rare` of the others. */
function fieldsOf(schema, words, depth = 0) {
  const objects = resolve(schema).properties ? [resolve(schema)] : objectsOf(schema);
  if (!objects.length) return h("p.hint", {}, typeOf(schema));
  return h(
    "div",
    {},
    objects.flatMap((one) => [
      objects.length > 1 ? h("p.hint", {}, one.called) : null,
      rows(
        Object.entries(one.properties).map(([name, property]) =>
          row(name, property, { also: [one.required?.includes(name) ? words.usual : words.rare], unfolds: depth < DEEPEST && (() => fieldsOf(property, words, depth + 1)) }),
        ),
      ),
    ]),
  );
}

const rows = (all) => h("ul.rows", {}, all);

function row(name, schema, { also, told = toldOf(schema), unfolds = false }) {
  return h(
    "li",
    {},
    h(
      "div.row-name",
      {},
      h("code", {}, name),
      h("span.hint", {}, [typeOf(schema), ...also].filter(Boolean).join(" · ")),
    ),
    h("div", {}, told ? h("p", {}, ...written(told)) : null, unfolds && objectsOf(schema).length ? unfolding(unfolds) : null),
  );
}

const toldOf = (schema) => resolve(schema).description ?? optionsOf(resolve(schema)).find((one) => one.description)?.description;

/** Fields within a field, drawn when they are looked at. */
function unfolding(draw) {
  const show = () => details.childElementCount < 2 && details.append(draw());
  const details = h("details.inner", { ontoggle: show }, h("summary", {}, "Its fields"));
  return details;
}

/** A type in words: "list of string", "integer from 1 to 4", "one of a, b or null". */
function typeOf(schema) {
  const whole = resolve(schema);
  const options = whole.anyOf ?? whole.oneOf;
  if (options && !whole.properties) {
    const words = options.map((one) => typeOf({ type: whole.type, ...one })).filter(Boolean);
    return [...new Set(words)].join(" or ");
  }
  if (whole.const !== undefined) return JSON.stringify(whole.const);
  if (whole.enum) {
    const more = whole.enum.length > MOST_WORDS ? ", …" : "";
    return `one of ${whole.enum.slice(0, MOST_WORDS).join(", ")}${more}`;
  }
  if (whole.type === "array") return `list of ${typeOf(whole.items ?? {})}`;
  if (whole.called && whole.properties) return whole.called;
  // Beyond what JavaScript counts exactly, a bound would be shown as another number.
  const [minimum, maximum] = [whole.minimum, whole.maximum].map((bound) => (Math.abs(bound) <= Number.MAX_SAFE_INTEGER ? bound : undefined));
  const bounds = minimum !== undefined && maximum !== undefined ? ` from ${minimum} to ${maximum}` : minimum !== undefined ? ` from ${minimum}` : "";
  return `${whole.format === "uri" ? "URL" : (whole.type ?? "anything")}${bounds}`;
}

/** Text with `code` in it. */
const written = (text) => text.split("`").map((part, n) => (n % 2 ? h("code", {}, part) : part));
