/* The page as a whole: signing in and out, which page is shown, the account, the theme, and the connection. */

import { call, Problem, signedIn, signIn, signOut } from "./api.js";
import { ago, byId, h, icon, money, short, toast } from "./dom.js";
import { clearForm, prefill, showForm, startFrom, tellBudget } from "./form.js";
import { showGuide } from "./guide.js";
import { clearHistory, showHistory } from "./history.js";
import { closeJob, forgetAll, openJob, showFeed } from "./jobs.js";
import { problemBox } from "./problems.js";

const JOB = /^#([0-9a-z]{26})$/;
const PAGES = { "#history": "history", "#api": "api" };
const OPEN = new Set(["api"]); // to everybody
const TITLES = { signin: "Sign in", create: "Create", history: "History", job: "Job", api: "API" };
let models = [];
let shown = null;

/* ---- Pages ---- */

/** Show the page that the address names; `moves` takes the reader there. */
function showPage({ moves = true } = {}) {
  const [, id] = location.hash.match(JOB) ?? [];
  const [address, part] = location.hash.split("/");
  const asked = id ? "job" : (PAGES[address] ?? "create");
  const name = signedIn() || OPEN.has(asked) ? asked : "signin";
  shown = name;
  byId("bar").hidden = name === "signin";
  byId("bar").classList.toggle("strange", !signedIn());
  for (const one of Object.keys(TITLES)) byId(`page-${one}`).hidden = one !== name;
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[name]} – Afterimage`;
  if (name !== "job") closeJob();
  if (name === "job") openJob(id);
  if (name === "history") showHistory(models);
  if (name === "api") showGuide(part);
  if (!moves) return;
  scrollTo(0, 0);
  if (name === "signin") byId("key").focus();
  else if (name !== "job" && !part) byId(`${name}-title`).focus({ preventScroll: true });
}

window.addEventListener("hashchange", () => {
  if (location.hash === "#main") return; // the skip link
  if (!takeKey()) showPage();
});

function goCreate() {
  if (location.hash && location.hash !== "#") location.hash = "#";
  byId("form").scrollIntoView({ block: "start" });
}

window.addEventListener("again", ({ detail: { job, seed } }) => {
  goCreate();
  prefill(job, { seed });
  byId("field-prompt")?.focus();
});

window.addEventListener("start-from", ({ detail: { job, url } }) => {
  goCreate();
  startFrom(url, job);
});

window.addEventListener("use-model", async ({ detail: { name } }) => {
  await loadModels();
  goCreate();
  prefill({ model: name, input: {} });
});

/* ---- Signing in and out ---- */

/** Take a key out of the address (`#key=…`) into the field, where it is to be confirmed; gives whether there was one. */
function takeKey() {
  if (!location.hash.startsWith("#key=")) return false;
  const key = decodeURIComponent(location.hash.slice(5));
  history.replaceState(null, "", location.pathname);
  if (signedIn()) leave();
  else showPage();
  byId("key").value = key;
  byId("signin").querySelector("button").focus();
  return true;
}

byId("signin").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("key");
  const button = event.target.querySelector("button");
  byId("key-error").textContent = "";
  const given = field.value.trim();
  // What no header can carry would look like a service that cannot be reached.
  const finding = !given ? "Paste your API key here." : /[^!-~]/.test(given) ? "This is no API key: it holds a space, or a character that keys do not have." : "";
  if (finding) {
    byId("key-error").textContent = finding;
    return field.focus();
  }
  button.textContent = "Signing in…";
  try {
    const account = await signIn(given);
    field.value = "";
    showAccount(account);
    enter();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    byId("key-error").textContent = error.status === 401 ? error.detail : `${error.title}. ${error.detail}`;
    field.focus();
  } finally {
    button.textContent = "Sign in";
  }
});

/** Load what every page needs, and show the page. */
async function enter() {
  showPage();
  try {
    await Promise.all([loadModels(), loadAccount(), showFeed()]);
    if (shown === "history") showHistory(models);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const again = h("button.quiet", { type: "button", onclick: enter }, "Try again");
    byId("feed").replaceChildren(problemBox(error), again);
  }
}

async function loadModels() {
  const catalog = await call("GET", "/models");
  models = catalog.models.map((one) => one.name);
  showForm(catalog);
}

function leave(words = "") {
  signOut();
  forgetAll();
  clearForm();
  clearHistory();
  models = [];
  if (byId("account").matches(":popover-open")) byId("account").hidePopover();
  if (OPEN.has(shown)) history.replaceState(null, "", location.pathname);
  showPage();
  byId("key-error").textContent = words;
}

byId("leave").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  leave();
});
window.addEventListener("refused-key", () => leave("This key is no longer taken. Sign in with another one."));

// What was asked with a key that has been signed out ends quietly.
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") event.preventDefault();
  else if (event.reason instanceof Problem) toast(`${event.reason.title}. ${event.reason.detail}`);
  else toast("Something went wrong on this page. Loading it again may help.");
});

/* ---- The account ---- */

async function loadAccount() {
  showAccount(await call("GET", "/v1/account"));
}

function showAccount({ username, afterimage: money_ }) {
  const { budget_usd: budget, committed_usd: committed, spent_usd: spent, reserved_usd: reserved, by_model, in_flight, limits } = money_;
  tellBudget(budget - committed);
  const meter = () => h("meter", { min: 0, max: budget || 1, high: (budget || 1) * 0.9, optimum: 0, value: committed, "aria-label": "Budget used" });
  byId("spend").replaceChildren(h("span.hidden", {}, "Account: "), h("span", {}, h("b", {}, money(committed)), h("span.of", {}, ` of ${money(budget)} today`)), meter());
  const row = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const models = Object.entries(by_model).filter(([, usd]) => usd > 0);
  byId("account").replaceChildren(
    h("h2", {}, username),
    h("p.large", {}, money(committed), h("span", {}, ` of ${money(budget)} today`)),
    meter(),
    h(
      "dl",
      {},
      row("Spent", money(spent)),
      row("Reserved for running jobs", money(reserved)),
      models.map(([name, usd]) => row(short(name), money(usd))),
      row("Running now", `${in_flight} of ${limits.max_in_flight}`),
      row("Requests", `${limits.requests_per_minute} a minute`),
    ),
    h("p.hint", {}, "The day ends at midnight UTC."),
  );
}

byId("account").addEventListener("toggle", (event) => event.newState === "open" && loadAccount());
window.addEventListener("money", loadAccount);

/* ---- Theme ---- */

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function showTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.replaceChildren(icon(theme));
  button.setAttribute("aria-label", THEMES[theme]);
  button.title = THEMES[theme];
}

let theme = localStorage.getItem("afterimage-theme") ?? "auto";
byId("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  theme = names[(names.indexOf(theme) + 1) % names.length];
  localStorage.setItem("afterimage-theme", theme);
  showTheme(theme);
});

/* ---- The connection ---- */

function tellConnection(isThere) {
  const words = navigator.onLine ? "The service cannot be reached. Trying again…" : "You are offline. Running jobs go on without you.";
  byId("offline").textContent = isThere ? "" : words;
}

window.addEventListener("reachable", ({ detail }) => tellConnection(detail));
window.addEventListener("offline", () => tellConnection(false));
window.addEventListener("online", () => tellConnection(true));

/* ---- The time ---- */

setInterval(() => {
  for (const one of document.querySelectorAll("time")) one.textContent = ago(one.dateTime);
}, 30_000);

/* ---- Begin ---- */

showTheme(theme);
if (!takeKey()) {
  if (signedIn()) enter();
  else showPage();
}
