/* The form of a model, made from the JSON Schema of its input. Only what somebody changed is sent. */

import { call, Problem, readJob } from "./api.js";
import { byId, bytes, counted, h, icon, isOurs, label, money, short, toast } from "./dom.js";
import { keep } from "./jobs.js";
import { problemBox } from "./problems.js";
import { codePanel } from "./snippets.js";

const MOST_IMAGES = 12; // of one click
const LARGEST_FILE = 3_500_000; // bytes: as a data URI it must fit into a request
const COUNT = "num_outputs"; // what the number of images is called in most inputs
const SAFE = Number.MAX_SAFE_INTEGER; // beyond it numbers would change on their way
const SAME = { guidance: "guidance_scale", guidance_scale: "guidance" };

let catalog = { models: [], presets: {} };
let model = null;
let fields = [];
let preset = null;
let sending = false;
let unanswered = null; // the request that may have been taken, with its key
let left = Infinity; // of today's budget, in USD

const form = byId("form");
const parts = {};

/* ---- What others ask of it ---- */

/** Show the form for the models that may be called. */
export function showForm(found) {
  const before = model?.name;
  catalog = found;
  build();
  choose(before ?? catalog.models.find((one) => one.kind === "prediction")?.name);
}

/** Forget what was written, for the next who signs in. */
export function clearForm() {
  catalog = { models: [], presets: {} };
  model = unanswered = preset = null;
  fields = [];
  form.replaceChildren();
}

export function tellBudget(usd) {
  left = usd;
  if (model) showEstimate();
}

/** Fill the form with what a job was given; with a new seed unless told otherwise. */
export function prefill(job, { seed = false } = {}) {
  if (!choose(job.model, {})) {
    toast(`${short(job.model)} can no longer be called: another model is chosen.`);
  }
  const { [COUNT]: count, ...input } = job.input;
  for (const field of fields) {
    const value = input[field.name];
    if (field.isSecret || value === undefined || value === null) continue;
    if (field.name !== "seed" || seed) field.write(value);
  }
  if (count) parts.count.value = count;
  changed();
  parts.advanced.open = changedFields(parts.advanced).length > 0;
}

/** Put an image into the form: of the chosen model if it takes one, or of the job's, or of the first that does. */
export function startFrom(url, job) {
  const takes = (one) => one?.kind === "prediction" && imageFields(one).length > 0;
  const chosen = [model, find(job.model), ...catalog.models].find(takes);
  if (!chosen) return toast("None of the models takes an image.");
  if (chosen !== model) choose(chosen.name);
  const field = fields.find((one) => one.name === imageFields(chosen)[0]);
  field.write(url);
  changed();
  field.element.scrollIntoView({ block: "center" });
  field.focus();
  toast(`${short(chosen.name)} starts from this image.`);
}

/* ---- The parts that all models share ---- */

function build() {
  const byOwner = Map.groupBy(catalog.models, (one) => (one.kind === "training" ? "Trainers" : one.name.split("/")[0]));
  const groups = [...byOwner].map(([owner, models]) =>
    h("optgroup", { label: owner }, models.map((one) => h("option", { value: one.name }, short(one.name)))),
  );
  Object.assign(parts, {
    model: h("select", { id: "model", onchange: () => choose(parts.model.value) }, groups),
    about: h("p.hint", { id: "model-hint" }),
    main: h("div.fields"),
    rest: h("div.fields"),
    summary: h("summary", {}, "More settings"),
    presets: h("div.chips", { role: "group", "aria-label": "Presets" }),
    count: h("input", { id: "count-of-images", type: "number", min: 1, max: MOST_IMAGES, step: 1, value: 1, required: true, oninput: changed }),
    estimate: h("p.estimate", { role: "status" }),
    problem: h("div"),
    submit: h("button.primary", { type: "submit" }, "Create"),
    code: codePanel(() => request().snippet),
  });
  const step = (by, words, sign) =>
    h("button.quiet", { type: "button", "aria-label": words, onclick: () => stepCount(by) }, sign);
  parts.images = h(
    "div.field",
    {},
    h("label", { for: "count-of-images" }, "Images"),
    h("div.stepper", {}, step(-1, "One image less", "−"), parts.count, step(1, "One image more", "+")),
  );
  parts.advanced = h("details.advanced", {}, parts.summary, parts.rest);
  form.replaceChildren(
    h("div.field", {}, h("label", { for: "model" }, "Model"), parts.model, parts.about),
    parts.main,
    parts.advanced,
    parts.code,
    h("div.send", {}, parts.problem, h("div.row", {}, parts.estimate, parts.submit)),
  );
}

const find = (name) => catalog.models.find((one) => one.name === name);

/** Show a model's fields, with what was written into fields of the same name; gives whether there is such a model. */
function choose(name, written) {
  const found = find(name);
  written ??= writtenFor(found);
  model = found ?? model ?? catalog.models[0];
  if (!model) return false;
  preset = model.presets.includes(preset) ? preset : null;
  parts.model.value = model.name;
  const { takes, price, max_images: most } = { takes: imageFields(model), ...model };
  parts.about.textContent = [
    `${price.is_certain ? "" : "about "}${money(price.usd)} per ${price.per}`,
    most > 1 && `up to ${most} images a job`,
    takes.length > 0 && model.kind === "prediction" && "takes an image",
    model.trigger_word && `say ${model.trigger_word} in the prompt`,
  ].filter(Boolean).join(" · ");
  fields = model.input_schema ? schemaFields() : [promptField(), jsonField()];
  if (model.kind === "training") fields.push(destinationField());
  for (const field of fields) if (written[field.name] !== undefined) field.write(written[field.name]);
  arrange();
  showPresets();
  changed();
  return found !== undefined;
}

/** What was written so far, for the fields of another model: its image is called otherwise in many. */
function writtenFor(next) {
  const written = Object.fromEntries(changedFields().map((one) => [one.name, one.read()]));
  const [before] = model ? imageFields(model) : [];
  const [after] = next ? imageFields(next) : [];
  if (before && after && written[before]) written[after] ??= written[before];
  return written;
}

function schemaFields() {
  const { properties, required = [], $defs = {} } = model.input_schema;
  return Object.entries(properties)
    .filter(([name]) => name !== COUNT)
    .map(([name, property]) => {
      const kinds = (property.anyOf ?? [property]).map((one) => (one.$ref ? $defs[one.$ref.split("/").pop()] : one));
      const schema = { ...kinds.find((one) => one.type !== "null"), ...property };
      // The short interface wants a prompt of every model.
      return makeField(name, schema, required.includes(name) || name === "prompt");
    });
}

const promptField = () => makeField("prompt", { type: "string", description: "What to make, in words." }, true);
const jsonField = () => makeField("input", { type: "object", title: "Input", description: "Whatever else the model takes, as JSON." }, false);
const destinationField = () =>
  makeField("destination", { type: "string", description: "The name of the new model; one is made up if you give none." }, false);

const isImage = ([name, property]) =>
  (property.anyOf ?? [property]).some((one) => one.format === "uri") && name !== "mask";

function imageFields(one) {
  return Object.entries(one.input_schema?.properties ?? {}).filter(isImage).map(([name]) => name);
}

/** Put what most people set in front, and fold the rest away. */
function arrange() {
  const names = new Set(fields.map((one) => one.name));
  const front = new Set(["prompt", "aspect_ratio", "trigger_word", "destination", imageFields(model)[0]]);
  if (!names.has("aspect_ratio")) front.add("width").add("height");
  if (model.kind === "training") front.add("steps");
  const isFront = (one) => one.isRequired || front.has(one.name);
  const [prompt, ...others] = fields.filter(isFront).sort((a, b) => (b.name === "prompt") - (a.name === "prompt"));
  const sizes = others.filter((one) => ["width", "height"].includes(one.name));
  const rest = others.filter((one) => !sizes.includes(one));
  const withPresets = model.presets.length ? h("div.field", {}, h("span.label", {}, "Preset"), parts.presets) : null;
  parts.main.replaceChildren(
    ...[prompt, ...rest.filter((one) => one.isFile)].map((one) => one.element),
    ...(withPresets ? [withPresets] : []),
    ...rest.filter((one) => !one.isFile).map((one) => one.element),
    ...(sizes.length ? [h("div.pair", {}, sizes.map((one) => one.element))] : []),
    ...(model.kind === "prediction" && model.input_schema ? [parts.images] : []),
  );
  parts.rest.replaceChildren(...fields.filter((one) => !isFront(one)).map((one) => one.element));
  parts.advanced.hidden = parts.rest.childElementCount === 0;
}

function showPresets() {
  parts.presets.replaceChildren(
    ...model.presets.map((name) =>
      h(
        "button.chip",
        { type: "button", "aria-pressed": String(name === preset), onclick: () => press(name) },
        label(name),
      ),
    ),
  );
}

function press(name) {
  preset = preset === name ? null : name;
  showPresets();
  [...parts.presets.children].find((one) => one.textContent === label(name)).focus();
  changed();
}

function stepCount(by) {
  const wanted = (Number(parts.count.value) || 1) + by;
  parts.count.value = Math.min(Math.max(wanted, 1), MOST_IMAGES);
  changed();
}

const changedFields = (within = form) => fields.filter((one) => within.contains(one.element) && one.read() !== undefined);

/** After any change: what is open shows what it will be, and what all of it will cost. */
function changed() {
  for (const field of fields) field.showFallback();
  const more = changedFields(parts.advanced).length;
  parts.summary.textContent = more ? `More settings · ${more} changed` : "More settings";
  showEstimate();
  parts.code.refresh();
}

function showEstimate() {
  const isTraining = model.kind === "training";
  const count = Number(parts.count.value) || 1;
  const steps = isTraining ? (fields.find((one) => one.name === "steps")?.read() ?? 1000) : 0;
  const usd = model.estimate_usd * (isTraining ? steps / 1000 : count);
  const amount = isTraining ? counted(steps, "step") : counted(count, "image");
  parts.estimate.replaceChildren(h("b", {}, `${model.price.is_certain ? "" : "≈ "}${money(usd)}`), h("span", {}, amount));
  parts.estimate.classList.toggle("over", usd > left);
  if (usd > left) parts.estimate.append(h("span", {}, `more than is left today (${money(left)})`));
}

/* ---- What is sent ---- */

/** The request that the form describes, and the same for the snippets. */
function request() {
  const { prompt, input: free, ...given } = Object.fromEntries(changedFields().map((one) => [one.name, one.read()]));
  const input = { ...given, ...free };
  if (model.kind === "training") {
    const { input_images, trigger_word, steps, destination, ...rest } = input;
    const body = { images_zip_url: input_images, trigger_word, steps, destination };
    if (Object.keys(rest).length) body.input = rest;
    return { path: "/train", body, kind: "trainings", snippet: { path: "/train", body } };
  }
  const count = Number(parts.count.value);
  const body = { model: model.name, prompt };
  if (model.input_schema) body.num_images = count;
  if (preset) body.preset = preset;
  if (Object.keys(input).length) body.input = input;
  const counted = model.max_images > 1 ? { [COUNT]: Math.min(count, model.max_images) } : {};
  const asReplicate = { prompt, ...presetValues(), ...input, ...counted };
  return {
    path: "/generate",
    body,
    kind: "predictions",
    snippet: { path: "/generate", body, model: model.name, input: asReplicate },
  };
}

const presetValues = () =>
  Object.fromEntries(fields.map((one) => [one.name, one.fromPreset()]).filter(([, value]) => value !== undefined));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
});

async function submit() {
  if (sending || !check()) return;
  const { path, body, kind } = request();
  const text = JSON.stringify([path, body]);
  // The same request, if its answer is missing, is sent with the same key: it is never paid twice.
  if (unanswered?.text !== text) unanswered = { text, key: crypto.randomUUID() };
  setSending(true);
  try {
    const answer = await call("POST", path, { body, headers: { "Idempotency-Key": unanswered.key } });
    await show(answer, kind);
    unanswered = null; // only now: what was taken but could not be shown is met again, not paid for again
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (!error.retryable) unanswered = null;
    refuse(error);
  } finally {
    setSending(false);
  }
}

function setSending(is) {
  sending = is;
  parts.submit.setAttribute("aria-disabled", String(is));
  parts.submit.textContent = is ? "Sending…" : "Create";
}

async function show(answer, kind) {
  const made = answer.predictions ?? [answer];
  const refused = made.find((one) => !one.prediction_id)?.problem;
  const ids = made.filter((one) => one.prediction_id).map((one) => one.prediction_id);
  const found = await Promise.all(ids.map((id) => readJob(id, kind)));
  for (const job of found.reverse()) keep(job, { isNew: true });
  if (refused) refuse(refused);
  byId("create-title").scrollIntoView({ block: "start" });
}

function check() {
  parts.problem.replaceChildren();
  const findings = fields.map((one) => [one, one.check()]);
  for (const [field, finding] of findings) field.blame(finding);
  if (!parts.count.validity.valid) parts.count.value = 1;
  return lead(findings.filter(([, finding]) => finding).map(([field]) => field));
}

/** Take the reader to the first field that is wrong; gives whether there is none. */
function lead([first]) {
  if (!first) return true;
  if (parts.advanced.contains(first.element)) parts.advanced.open = true;
  first.focus();
  return false;
}

function refuse(problem) {
  const blamed = [];
  for (const one of problem.invalid_fields) {
    const name = one.field.replace(/^input\./, "").replace(/^images_zip_url$/, "input_images");
    const field = fields.find((each) => each.name === name);
    field?.blame(one.description);
    if (field) blamed.push([one.field, field]);
  }
  const box = problemBox(problem, { without: blamed.map(([name]) => name) });
  parts.problem.replaceChildren(box);
  if (lead(blamed.map(([, field]) => field))) box.focus();
}

/* ---- Fields ---- */

/**
 * One field: `read` gives what somebody changed, or undefined; `write` changes it; `check` gives what is wrong with
 * it, `blame` shows that; `showFallback` shows what holds if it is left open.
 */
function makeField(name, schema, isRequired) {
  const id = `field-${name}`;
  const described = { "aria-describedby": `${id}-hint ${id}-error` };
  const kind = kindOf(name, schema);
  const control = KINDS[kind]({ id, name, schema, isRequired, described });
  const isPlain = kind === "ratio" || (name === "prompt" && schema.type === "string"); // their labels say it all
  const hint = h("p.hint", { id: `${id}-hint` }, isPlain ? "" : [schema.description, bounds(schema)].filter(Boolean).join(" "));
  const error = h("p.error", { id: `${id}-error` });
  const words = [label(name), !isRequired && ["file"].includes(kind) ? h("span.optional", {}, "optional") : null];
  const heading = control.isGroup ? h("span.label", { id: `${id}-label` }, words) : h("label", { for: id }, words);
  const input = control.input;
  const fromPreset = () => fitting(catalog.presets[preset] ?? {}, name, schema);
  return {
    name,
    isRequired,
    isFile: kind === "file",
    isSecret: kind === "secret",
    element: h("div.field", {}, kind === "flag" ? [control.element, hint, error] : [heading, control.element, hint, error]),
    read: control.read,
    write: control.write,
    fromPreset,
    focus: () => input.focus(),
    check: () => (control.check ? control.check() : complaint(input)),
    blame(finding) {
      error.textContent = finding ?? "";
      input.setAttribute("aria-invalid", String(Boolean(finding)));
    },
    showFallback: () => control.showFallback?.(fromPreset() ?? model.defaults[name] ?? schema.default),
  };
}

const complaint = (input) => (input.validity.valueMissing ? "This cannot be left empty." : input.validationMessage);

function kindOf(name, schema) {
  if (schema.writeOnly) return "secret";
  if (schema.enum) return name === "aspect_ratio" ? "ratio" : "choice";
  if (schema.format === "uri") return "file";
  if (schema.type === "boolean") return "flag";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type !== "string") return "json";
  return /prompts?$/.test(name) ? "long" : "text";
}

function bounds({ minimum, maximum }) {
  const isTold = (bound) => bound !== undefined && Math.abs(bound) < SAFE;
  if (isTold(minimum) && isTold(maximum)) return `From ${minimum} to ${maximum}.`;
  return isTold(minimum) ? `At least ${minimum}.` : isTold(maximum) ? `At most ${maximum}.` : "";
}

/** What a preset says of a field, under either of its names, if the model takes it. */
function fitting(values, name, schema) {
  const value = values[name] ?? values[SAME[name]];
  const isWrong =
    value === undefined ||
    (schema.enum && !schema.enum.includes(value)) ||
    value < schema.minimum ||
    value > schema.maximum ||
    // The shape is said in one of two ways.
    (["width", "height"].includes(name) && model.input_schema.properties.aspect_ratio);
  return isWrong ? undefined : value;
}

const typed = (input) => ({
  input,
  element: input,
  read: () => (input.value === "" ? undefined : input.value),
  write: (value) => (input.value = value),
  showFallback: (value) => (input.placeholder = value ?? ""),
});

const KINDS = {
  text: ({ id, schema, isRequired, described }) =>
    typed(h("input", { id, type: "text", maxlength: schema.maxLength, required: isRequired, oninput: changed, ...described })),

  long: ({ id, schema, isRequired, described }) => {
    const properties = { id, rows: isRequired ? 4 : 2, maxlength: schema.maxLength, required: isRequired, oninput: changed };
    const control = typed(h("textarea", { ...properties, ...described }));
    // A prompt must be given, so that what the model would do without one is of no interest.
    return isRequired ? { ...control, showFallback: undefined } : control;
  },

  secret: ({ id, schema, described }) =>
    typed(h("input", { id, type: "password", maxlength: schema.maxLength, autocomplete: "off", oninput: changed, ...described })),

  number: ({ id, schema, isRequired, described }) => {
    const isSafe = (bound) => (Math.abs(bound) < SAFE ? bound : Math.sign(bound) * SAFE);
    const input = h("input", {
      id,
      type: "number",
      inputmode: schema.type === "integer" ? "numeric" : "decimal",
      step: schema.type === "integer" ? 1 : "any",
      min: schema.minimum === undefined ? undefined : isSafe(schema.minimum),
      max: schema.maximum === undefined ? undefined : isSafe(schema.maximum),
      required: isRequired,
      oninput: changed,
      ...described,
    });
    const random = id === "field-seed" ? "random" : "";
    return {
      ...typed(input),
      read: () => (input.value === "" ? undefined : Number(input.value)),
      showFallback: (value) => (input.placeholder = value ?? random),
    };
  },

  choice: ({ id, schema, described }) => {
    const open = h("option", { value: "" });
    const options = schema.enum.map((value) => h("option", { value: String(value) }, String(value)));
    const input = h("select", { id, onchange: changed, ...described }, open, options);
    return {
      ...typed(input),
      read: () => schema.enum.find((value) => input.value !== "" && String(value) === input.value),
      write: (value) => (input.value = schema.enum.includes(value) ? String(value) : ""),
      showFallback: (value) => (open.textContent = value === undefined || value === null ? "default" : `${value} (default)`),
    };
  },

  flag: ({ id, name, schema, described }) => {
    const input = h("input", { id, type: "checkbox", role: "switch", onchange: touch, ...described });
    let fallback = schema.default ?? false;
    let isTouched = false;
    function touch() {
      isTouched = true;
      changed();
    }
    return {
      input,
      element: h("label.switch", { for: id }, input, label(name)),
      read: () => (isTouched && input.checked !== fallback ? input.checked : undefined),
      write: (value) => {
        input.checked = value === true;
        isTouched = true;
      },
      showFallback: (value) => {
        fallback = value === true;
        if (!isTouched) input.checked = fallback;
      },
    };
  },

  ratio: ({ id, name, schema }) => {
    let fallback = schema.default;
    let isTouched = false;
    const radios = schema.enum.map((value) =>
      h("input", { type: "radio", name, value, onchange: () => (isTouched = true) && changed() }),
    );
    const element = h(
      "div.ratios",
      { role: "radiogroup", "aria-labelledby": `${id}-label`, "aria-describedby": `${id}-hint ${id}-error` },
      radios.map((radio) => h("label.ratio", {}, radio, shape(radio.value), radio.value.replaceAll("_", " "))),
    );
    const chosen = () => radios.find((one) => one.checked);
    const check = (value) => radios.forEach((one) => (one.checked = one.value === value));
    return {
      isGroup: true,
      element,
      get input() {
        return chosen() ?? radios[0];
      },
      read: () => (isTouched && chosen() && chosen().value !== fallback ? chosen().value : undefined),
      write: (value) => {
        check(value);
        isTouched = true;
      },
      check: () => "",
      showFallback: (value) => {
        fallback = value;
        if (!isTouched) check(value);
      },
    };
  },

  file: fileControl,

  json: ({ id, described }) => {
    const input = h("textarea", { id, rows: 3, spellcheck: "false", placeholder: "{}", oninput: changed, ...described });
    const parsed = () => (input.value.trim() ? JSON.parse(input.value) : undefined);
    function check() {
      try {
        parsed();
        return "";
      } catch {
        return "This is not valid JSON.";
      }
    }
    return {
      input,
      element: input,
      read: () => (check() ? undefined : parsed()),
      write: (value) => (input.value = JSON.stringify(value, null, 2)),
      check,
    };
  },
};

/** A small drawing of an aspect ratio. */
function shape(value) {
  const [width, height] = value.split(":").map(Number);
  const drawn = h("span.shape");
  if (width && height) {
    const scale = 16 / Math.max(width, height);
    drawn.style.width = `${width * scale}px`;
    drawn.style.height = `${height * scale}px`;
  } else {
    drawn.classList.add("any");
  }
  return drawn;
}

/** A file by its URL, or a small one that is chosen or dropped and sent along. */
function fileControl({ id, isRequired, described }) {
  let uri = ""; // of a chosen file; its URL is what stands in the input
  const input = h("input", { id, type: "url", placeholder: "https://…", required: isRequired, oninput: typedUrl, ...described });
  const picker = h("input", { type: "file", tabindex: -1, "aria-hidden": "true", onchange: () => take(picker.files[0]) });
  const preview = h("img", { alt: "", hidden: true });
  const name = h("span.file-name");
  const pick = h("button.quiet", { type: "button", onclick: () => picker.click() }, "Choose a file");
  const clear = h("button.icon", { type: "button", "aria-label": "Remove the file", onclick: () => put("") }, icon("close"));
  const given = h("div.given", { hidden: true }, preview, name, clear);
  const asked = h("div.asked", {}, input, pick, picker);
  const element = h("div.drop", {}, asked, given);
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });

  function typedUrl() {
    if (isOurs(input.value)) put(input.value);
    changed();
  }

  function take(file) {
    picker.value = "";
    if (!file) return;
    if (file.size > LARGEST_FILE) {
      toast(`${file.name} has ${bytes(file.size)}, and may have ${bytes(LARGEST_FILE)}: give its URL instead.`);
      return;
    }
    const reader = new FileReader();
    reader.onload = () => put(reader.result, `${file.name}, ${bytes(file.size)}`);
    reader.readAsDataURL(file);
  }

  function put(value, words) {
    const isShown = value.startsWith("data:") || isOurs(value);
    uri = isShown ? value : "";
    input.value = isShown ? "" : value;
    asked.hidden = isShown;
    given.hidden = !isShown;
    preview.hidden = !(isOurs(value) || value.startsWith("data:image/"));
    if (preview.hidden) preview.removeAttribute("src");
    else preview.src = value;
    name.textContent = isShown ? (words ?? "An image made here") : "";
    if (element.contains(document.activeElement)) (isShown ? clear : input).focus();
    changed();
  }

  return {
    element,
    get input() {
      return asked.hidden ? clear : input;
    },
    read: () => uri || input.value || undefined,
    write: (value) => put(value, value.startsWith("data:") ? "The file that was given" : undefined),
    check: () => (uri ? "" : complaint(input)),
  };
}
