/* Jobs on the page: what is known of each, how it looks while it runs and after, and what can be done with it. */

import { call, hasEnded, kindOf, Problem, readFile, readJob, watch } from "./api.js";
import { action, ago, announce, byId, bytes, confirmed, copy, counted, duration, h, icon, isOurs, label, money, short, toast } from "./dom.js";
import { problemBox } from "./problems.js";
import { codePanel } from "./snippets.js";

const IN_VIEW = 8; // jobs beside the form; the others are in the history
const LOG_LINES = 40;
const WORDS = {
  queued: "Waiting for its turn",
  starting: "Starting",
  processing: "Drawing",
  storing: "Keeping what was made",
  succeeded: "Done",
  failed: "Failed",
  canceled: "Canceled",
};

const known = new Map(); // by id, the newest reading
const fresh = new Set(); // ids of jobs that were started here: their images develop when they come
const canceling = new Set();
const watched = new Set();
let open = null; // the id of the job that has the page to itself

const tell = (name, detail) => window.dispatchEvent(new CustomEvent(name, { detail }));

/* ---- What is known ---- */

/** Remember a reading of a job, show it wherever it is shown, and go on reading it until it has ended. */
export function keep(job, { isNew = false } = {}) {
  const before = known.get(job.id);
  known.set(job.id, job);
  if (isNew) fresh.add(job.id);
  tellProgress(before, job);
  showInFeed(job);
  if (open === job.id) drawPage(job);
  tell("job", { job });
  // Money is reserved when a job begins, and settled when it ends.
  if (isNew || (before && !hasEnded(before) && hasEnded(job))) tell("money");
  if (!hasEnded(job) && !watched.has(job.id)) {
    watched.add(job.id);
    watch(job, (reading) => known.has(job.id) && (keep(reading), true)).finally(() => watched.delete(job.id));
  }
}

/** Forget all, for the next who signs in. */
export function forgetAll() {
  for (const one of [known, fresh, canceling, watched]) one.clear();
  feed.replaceChildren();
  closeJob();
}

function forget(id) {
  known.delete(id);
  feed.querySelector(`[data-id="${id}"]`)?.remove();
  showEmptiness();
  tell("job-gone", id);
}

function tellProgress(before, job) {
  if (!before || !fresh.has(job.id)) return;
  const quarter = (one) => Math.floor((one.afterimage.progress ?? 0) * 4);
  if (before.afterimage.stage === job.afterimage.stage && quarter(before) === quarter(job)) return;
  const images = imagesOf(job).length;
  announce(job.status === "succeeded" && images ? `Done: ${counted(images, "image")}.` : progressWords(job));
}

function progressWords(job) {
  const { stage, progress } = job.afterimage;
  const words = stage === "processing" && kindOf(job) === "trainings" ? "Learning" : WORDS[stage];
  if (canceling.has(job.id) && !hasEnded(job)) return "Canceling";
  return progress && stage === "processing" ? `${words}, ${Math.round(progress * 100)} %` : words;
}

/** What somebody would call it. */
export function titleOf(job) {
  const { prompt, trigger_word } = job.input;
  return prompt || (trigger_word ? `Training of ${trigger_word}` : short(job.model));
}

export const imagesOf = (job) =>
  job.afterimage.files.filter((file) => file.content_type.startsWith("image/") && isOurs(file.url));

const shapeOf = ({ aspect_ratio: ratio = "", width, height }) => {
  const [across, up] = /^\d+:\d+$/.test(ratio) ? ratio.split(":") : [width ?? 1, height ?? 1];
  return `${across} / ${up}`;
};

/* ---- Pictures ---- */

/** One image, or where it will be. New ones develop: first what an eye would keep of it, then the image itself. */
export function picture(job, file, words) {
  const image = h("img", {
    src: file.url,
    alt: words,
    loading: "lazy",
    decoding: "async",
    width: file.width,
    height: file.height,
  });
  if (fresh.has(job.id)) {
    image.classList.add("develops");
    image.addEventListener("animationend", () => {
      image.classList.remove("develops");
      fresh.delete(job.id);
    });
  }
  image.addEventListener("load", () => image.classList.add("there"));
  image.addEventListener("error", () => image.replaceWith(h("span.broken", {}, "This image could not be loaded.")));
  return image;
}

/** An image that leads somewhere, with its place kept until it is there. */
function tile(href, job, file, words, properties = {}) {
  const made = h("a.tile", { href, ...properties }, picture(job, file, words));
  made.style.setProperty("--ratio", file.width / file.height || 1);
  return made;
}

export function ghost(job) {
  const element = h("div.ghost", { "aria-hidden": "true" });
  element.style.aspectRatio = shapeOf(job.input);
  return element;
}

const meter = (job) => h("progress", { max: 1, value: job.afterimage.progress || undefined, "aria-label": "Progress" });

/* ---- The feed beside the form ---- */

const feed = byId("feed");

/** Show the newest jobs, once they are read. */
export async function showFeed() {
  feed.replaceChildren(h("div.waiting", {}, h("div.ghost"), h("div.ghost")));
  const pages = await Promise.all(["predictions", "trainings"].map((kind) => call("GET", `/v1/${kind}`)));
  feed.replaceChildren();
  const jobs = pages.flatMap((page) => page.results).sort((a, b) => a.created_at.localeCompare(b.created_at));
  for (const job of jobs.slice(-IN_VIEW)) keep(job);
  for (const job of jobs.slice(0, -IN_VIEW)) if (!hasEnded(job)) keep(job);
  showEmptiness();
}

function showEmptiness() {
  const isEmpty = !feed.querySelector("article");
  feed.querySelector(".empty")?.remove();
  if (isEmpty) {
    feed.replaceChildren(
      h(
        "div.empty",
        {},
        h("div.demo", { "aria-hidden": "true" }, h("div.source"), h("div.gone")),
        h("h2", {}, "Nothing in view yet"),
        h("p", {}, "Look at the dot for ten seconds, then at the empty space beside it. What you see there is an afterimage, and soon gone. What you make here stays."),
      ),
    );
  }
}

function showInFeed(job) {
  let entry = feed.querySelector(`[data-id="${job.id}"]`);
  const state = [job.afterimage.stage, canceling.has(job.id), job.data_removed].join();
  if (entry?.dataset.state === state) return updateProgress(entry, job);
  const made = drawEntry(job);
  made.dataset.state = state;
  if (entry) {
    const hadFocus = entry.contains(document.activeElement);
    entry.replaceWith(made);
    if (hadFocus) made.querySelector("h2 a").focus();
    return;
  }
  feed.querySelectorAll(".empty, .waiting").forEach((one) => one.remove());
  entry = [...feed.children].find((one) => one.dataset.created < job.created_at);
  feed.insertBefore(made, entry ?? null);
  while (feed.childElementCount > IN_VIEW) feed.lastElementChild.remove();
}

function updateProgress(place, job) {
  const bar = place.querySelector("progress");
  if (!bar) return;
  if (job.afterimage.progress) bar.value = job.afterimage.progress;
  place.querySelector(".stage").textContent = progressWords(job);
  place.querySelector(".since").textContent = since(job);
}

const since = (job) => duration(Math.max(0, (Date.now() - Date.parse(job.created_at)) / 1000));

function drawEntry(job) {
  const images = imagesOf(job);
  const { problem, stage, cost_usd: cost } = job.afterimage;
  const count = hasEnded(job) ? images.length : kindOf(job) === "trainings" ? 0 : (job.input.num_outputs ?? 1);
  const tiles = hasEnded(job)
    ? images.map((file, n) => tile(`#${job.id}`, job, file, altOf(job, n, images.length)))
    : Array.from({ length: count }, () => ghost(job));
  return h(
    `article.entry.${stage}`,
    { "data-id": job.id, "data-created": job.created_at },
    h("h2", {}, h("a", { href: `#${job.id}` }, titleOf(job))),
    h("p.meta", {}, h("span", {}, short(job.model)), h("time", { datetime: job.created_at }, ago(job.created_at)), cost ? h("span", {}, money(cost)) : null, statusBadge(job)),
    count ? h(`div.tiles.of-${Math.min(count, 4)}`, {}, tiles) : null,
    hasEnded(job) ? null : progressRow(job),
    problem ? problemBox(problem, { role: "note" }) : null,
    job.data_removed ? h("p.hint", {}, "The images are no longer kept.") : null,
    h("div.actions", {}, hasEnded(job) ? [againButton(job), openLink(job)] : [cancelButton(job)]),
  );
}

const altOf = (job, n, of) => (of > 1 ? `${titleOf(job)} (${n + 1} of ${of})` : titleOf(job));

const statusBadge = (job) => (["failed", "canceled"].includes(job.status) ? h(`span.badge.${job.status}`, {}, WORDS[job.status]) : null);

const progressRow = (job) =>
  h("div.running", {}, meter(job), h("p", {}, h("span.stage", {}, progressWords(job)), h("span.since", {}, since(job))));

/* ---- What can be done ---- */

const againButton = (job) => action("again", "Again", () => tell("again", { job }));
const openLink = (job) => h("a.quiet", { href: `#${job.id}` }, "Details");

function cancelButton(job) {
  const button = action("stop", canceling.has(job.id) ? "Canceling…" : "Cancel", () => cancel(job));
  button.setAttribute("aria-disabled", String(canceling.has(job.id)));
  return button;
}

async function cancel(job) {
  if (canceling.has(job.id)) return;
  canceling.add(job.id);
  keep(known.get(job.id));
  await attempt(async () => keep(await call("POST", `/v1/${kindOf(job)}/${job.id}/cancel`)));
}

async function remove(job) {
  if (!(await confirmed("Delete this job with all its files? This cannot be undone.", "Delete"))) return;
  await attempt(async () => {
    try {
      await call("DELETE", `/v1/${kindOf(job)}/${job.id}`);
    } catch (error) {
      if (error.status !== 404) throw error; // it is gone already: deleted in another tab, or by a program
    }
    forget(job.id);
    toast("Deleted.");
    location.hash = "#history";
  }, { 409: "Its files are still being put away: try again in a moment." });
}

async function download(file, name) {
  await attempt(async () => {
    const blob = await readFile(file.url);
    if (!blob) return void window.open(file.url, "_blank", "noopener");
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  });
}

/** Do something, and say it if it was refused; `words` are better ones for some statuses. */
async function attempt(task, words = {}) {
  try {
    await task();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    toast(words[error.status] ?? `${error.title}. ${error.detail}`);
  }
}

/* ---- A page for one job ---- */

const page = byId("page-job");

/** Show one job, which may not be known yet. */
export async function openJob(id) {
  open = id;
  page.replaceChildren(heading("Loading…"), h("div.ghost"));
  try {
    const job = known.get(id) ?? (await readJob(id));
    if (open === id) keep(job);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (open !== id) return;
    const words = error.status === 404 ? "There is no such job, or it is not yours." : error.title;
    page.replaceChildren(backLink(), heading(words), error.status === 404 ? "" : problemBox(error));
  }
  if (open === id) byId("job-title").focus({ preventScroll: true });
}

export function closeJob() {
  open = null;
  delete page.dataset.state;
  page.replaceChildren();
}

const heading = (words) => h("h1", { id: "job-title", tabindex: -1 }, words);
const backLink = () => h("a.back", { href: "#history" }, icon("back"), "History");

function drawPage(job) {
  const state = [job.id, job.afterimage.stage, canceling.has(job.id)].join();
  if (page.dataset.state === state && page.querySelector(".facts")) return updateProgress(page, job);
  page.dataset.state = state;
  const hadFocus = page.contains(document.activeElement);
  page.replaceChildren(
    backLink(),
    h("div.sheet", {}, h("div.made", {}, made(job)), h("div.facts", {}, facts(job))),
  );
  if (hadFocus) byId("job-title").focus({ preventScroll: true });
}

function made(job) {
  const { problem } = job.afterimage;
  const images = imagesOf(job);
  const others = job.afterimage.files.filter((file) => !images.includes(file));
  const count = kindOf(job) === "trainings" ? 0 : (job.input.num_outputs ?? 1);
  return [
    hasEnded(job) ? null : progressRow(job),
    hasEnded(job) ? null : h(`div.tiles.of-${Math.min(count, 4)}`, {}, Array.from({ length: count }, () => ghost(job))),
    problem ? problemBox(problem, { role: "note" }) : null,
    images.length ? h(`div.tiles.of-${Math.min(images.length, 4)}`, {}, images.map((file, n) => figure(job, file, n, images.length))) : null,
    others.map((file) => fileRow(job, file)),
    job.data_removed ? h("p.note", {}, "The files have reached the end of their life. The job is still here, and can be started again.") : null,
    job.status === "succeeded" && !images.length && job.output !== null ? h("pre.output", { tabindex: 0 }, JSON.stringify(job.output, null, 2)) : null,
    job.status === "canceled" && !problem ? h("p.note", {}, "It was canceled before anything was made.") : null,
  ];
}

function figure(job, file, n, of) {
  return h(
    "figure",
    {},
    tile(file.url, job, file, altOf(job, n, of), { target: "_blank", rel: "noopener" }),
    h(
      "figcaption",
      {},
      h("span", {}, `${file.width} × ${file.height} · ${bytes(file.bytes)}`),
      action("input", "Use as input", () => tell("start-from", { job, url: file.url })),
      action("download", "Download", () => download(file, nameOf(job, file))),
    ),
  );
}

const fileRow = (job, file) =>
  h("p.file", {}, h("span", {}, `${nameOf(job, file)} · ${file.content_type} · ${bytes(file.bytes)}`), action("download", "Download", () => download(file, nameOf(job, file))));

const nameOf = (job, file) => `${job.id}-${new URL(file.url).pathname.split("/").pop()}`;

function facts(job) {
  const { cost_usd: cost, estimated_cost_usd: estimated, seed, warnings, batch_id } = job.afterimage;
  const { prompt, num_outputs, ...rest } = job.input;
  const ran = job.metrics.predict_time;
  const newModel = kindOf(job) === "trainings" && job.output?.version;
  const rows = [
    ["Model", job.model],
    newModel && ["New model", newModel.split(":")[0]],
    ["Images", num_outputs],
    ["Seed", seed],
    ["Cost", cost === null ? `${money(estimated)} expected` : `${money(cost)}${cost === estimated ? "" : `, ${money(estimated)} expected`}`],
    ["Created", new Date(job.created_at).toLocaleString()],
    ["Ran for", ran === undefined ? null : duration(ran)],
    ["In all", job.completed_at ? duration((Date.parse(job.completed_at) - Date.parse(job.created_at)) / 1000) : null],
    ...Object.entries(rest).filter(([name]) => name !== "seed").map(([name, value]) => [label(name), plain(value)]),
    ["Batch", batch_id],
  ].filter((row) => row && row[1] !== null && row[1] !== undefined);
  const log = job.logs.trimEnd().split("\n").slice(-LOG_LINES).join("\n");
  return [
    h("p.meta", {}, h(`span.badge.${job.status}`, {}, hasEnded(job) ? WORDS[job.status] : "Running"), h("time", { datetime: job.created_at }, ago(job.created_at))),
    heading(titleOf(job)),
    h(
      "div.actions",
      {},
      hasEnded(job)
        ? [
            againButton(job),
            seed === null ? null : action("seed", "Same seed", () => tell("again", { job, seed: true })),
            newModel ? action("create", "Use this model", () => tell("use-model", { name: newModel.split(":")[0] })) : null,
            prompt ? action("copy", "Copy prompt", () => copy(prompt, "Prompt")) : null,
            action("delete", "Delete", () => remove(job)),
          ]
        : [cancelButton(job)],
    ),
    warnings.length ? h("ul.note", {}, warnings.map((one) => h("li", {}, one))) : null,
    h("dl", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))),
    h("p.id", {}, h("code", {}, job.id), action("copy", "Copy id", () => copy(job.id, "Id"), "tiny")),
    codePanel(() => snippetOf(job)),
    log ? h("details.as-code", {}, h("summary", {}, "Logs"), h("pre", { tabindex: 0, role: "region", "aria-label": "Logs" }, log)) : null,
  ];
}

function plain(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return value.startsWith("data:") ? `${value.slice(5, value.search(/[;,]/))}, ${bytes(value.length)}` : value;
}

function snippetOf(job) {
  if (kindOf(job) === "trainings") {
    const { input_images, trigger_word, ...input } = job.input;
    return { path: "/train", body: { images_zip_url: input_images, trigger_word, input } };
  }
  const { prompt, num_outputs, ...input } = job.input;
  const body = { model: job.model, prompt, num_images: num_outputs ?? 1, input };
  return { path: "/generate", body, model: job.model, input: job.input };
}
