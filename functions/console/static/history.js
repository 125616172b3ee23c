/* All jobs, newest first: read page by page until the view is full, and filtered here. */

import { call, hasEnded, Problem } from "./api.js";
import { ago, byId, counted, h, money, short } from "./dom.js";
import { ghost, imagesOf, picture, titleOf } from "./jobs.js";
import { problemBox } from "./problems.js";

const FILL = 24; // cards that are shown, if there are so many
const MOST_PAGES = 5; // that are read for them at once

const KINDS = { predictions: "Images", trainings: "Trainings" };
const STATUSES = { "": "Any status", running: "Running", succeeded: "Done", failed: "Failed", canceled: "Canceled" };

const cards = byId("cards");
const more = byId("more");
const filters = byId("filters");
let jobs = [];
let next = null; // the path of the page after those that were read
let reading = 0; // counts the readings: what comes for an earlier one is of no interest

/** Show the filters and the first jobs; `models` are those that may be called. */
export function showHistory(models) {
  const before = Object.fromEntries([...filters.elements].map((one) => [one.name, one.value]));
  filters.replaceChildren(
    choice("kind", "Kind", Object.entries(KINDS), load),
    choice("status", "Status", Object.entries(STATUSES), () => readOn(FILL)),
    choice("model", "Model", [["", "Any model"], ...models.map((name) => [name, short(name)])], () => readOn(FILL)),
  );
  for (const one of filters.elements) if (before[one.name]) one.value = before[one.name];
  load();
}

/** Forget all, for the next who signs in. */
export function clearHistory() {
  reading += 1;
  jobs = [];
  for (const one of [cards, more, filters, byId("count")]) one.replaceChildren();
}

function choice(name, words, entries, onchange) {
  const options = entries.map(([value, text]) => h("option", { value }, text));
  return h("label", {}, h("span.hidden", {}, words), h("select", { name, onchange }, options));
}

function load() {
  jobs = [];
  next = `/v1/${filters.elements.kind.value}`;
  cards.replaceChildren(...Array.from({ length: 8 }, () => h("li", { "aria-hidden": "true" }, h("div.ghost"))));
  readOn(FILL);
}

function matching() {
  const { status, model } = filters.elements;
  const isWanted = (job) => !status.value || job.status === status.value || (status.value === "running" && !hasEnded(job));
  return jobs.filter((job) => isWanted(job) && (!model.value || job.model === model.value));
}

/** Read pages until so many jobs match, or there are no more, or it has been enough for now. */
async function readOn(wanted) {
  reading += 1;
  const mine = reading;
  byId("count").textContent = "Loading…";
  try {
    for (let pages = 0; next && pages < MOST_PAGES && matching().length < wanted; pages += 1) {
      const page = await call("GET", next);
      if (mine !== reading) return;
      jobs.push(...page.results);
      next = page.next && page.next.slice(new URL(page.next).origin.length);
    }
    draw();
  } catch (error) {
    if (!(error instanceof Problem) || mine !== reading) throw error;
    draw();
    more.replaceChildren(problemBox(error), button("Try again", () => readOn(wanted)));
  }
}

function draw() {
  const found = matching();
  const isFiltered = found.length < jobs.length;
  byId("count").textContent = found.length ? counted(found.length, "job") + (next ? ", and older ones" : "") : "";
  cards.replaceChildren(...found.map(card));
  more.replaceChildren();
  if (next) more.append(button("Show older", () => readOn(matching().length + FILL)));
  else if (!found.length) more.append(emptiness(isFiltered));
}

const button = (words, onclick) => h("button.quiet", { type: "button", onclick }, words);

const emptiness = (isFiltered) =>
  h(
    "div.empty",
    {},
    h("h2", {}, isFiltered ? "None of your jobs is like that" : "Nothing here yet"),
    h("p", {}, isFiltered ? "Other filters may find more." : "Whatever you make will be kept here."),
    isFiltered ? null : h("a.quiet", { href: "#" }, "Create something"),
  );

function card(job) {
  const images = imagesOf(job);
  const { cost_usd: cost } = job.afterimage;
  const ended = { failed: "Failed", canceled: "Canceled", succeeded: job.data_removed ? "Files expired" : "No image" };
  let shown = h("div.none", {}, ended[job.status]);
  if (images.length) shown = picture(job, images[0], "");
  else if (!hasEnded(job)) shown = ghost({ input: {} });
  return h(
    `li.card.${job.status}`,
    { "data-id": job.id },
    h(
      "a",
      { href: `#${job.id}` },
      h("div.thumb", {}, shown, images.length > 1 ? h("span.number", {}, counted(images.length, "image")) : null),
      h("span.card-title", {}, titleOf(job)),
    ),
    h("p.meta", {}, h("span", {}, short(job.model)), h("time", { datetime: job.created_at }, ago(job.created_at)), cost ? h("span", {}, money(cost)) : null),
  );
}

window.addEventListener("job", ({ detail: { job } }) => {
  const place = jobs.findIndex((one) => one.id === job.id);
  if (place < 0) return;
  const isSame = jobs[place].status === job.status;
  jobs[place] = job;
  if (!isSame) cards.querySelector(`[data-id="${job.id}"]`)?.replaceWith(card(job));
});

window.addEventListener("job-gone", ({ detail: id }) => {
  jobs = jobs.filter((job) => job.id !== id);
  cards.querySelector(`[data-id="${id}"]`)?.remove();
});
