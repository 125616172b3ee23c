/* Elements, icons, and how amounts and times are written. Text only ever becomes text: nothing here parses HTML. */

export const byId = (id) => document.getElementById(id);

/** Make an element: `h("button.primary", {type: "button", onclick}, "Words", child)`. Empty children are left out. */
export function h(spec, properties = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon and a word. */
export function action(name, words, onclick, kind = "quiet") {
  return h(`button.${kind}`, { type: "button", onclick }, icon(name), words);
}

/** Say something for a moment, at the bottom of the page. */
export function toast(words) {
  const place = byId("toast");
  place.textContent = words;
  place.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => {
    place.classList.remove("shown");
    place.textContent = "";
  }, 5000);
}

/** Tell those who cannot see it. */
export function announce(words) {
  byId("progress-words").textContent = words;
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`);
  } catch {
    toast("The browser did not allow copying: select the text instead.");
  }
}

/** Whether somebody is asked, and says yes. */
export function confirmed(question, yes) {
  const dialog = h(
    "dialog.ask",
    { "aria-label": question },
    h("p", {}, question),
    h(
      "form.row",
      { method: "dialog" },
      h("button.quiet", { value: "no", autofocus: true }, "Keep it"),
      h("button.danger", { value: "yes" }, yes),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

/* ---- Words ---- */

export function money(usd) {
  if (usd === null || usd === undefined) return "–";
  const digits = usd === 0 || usd >= 1 ? 2 : 4;
  const text = usd.toFixed(digits).replace(/(\.\d\d\d*?)0+$/, "$1");
  return `$${usd > 0 && Number(text) === 0 ? "<0.0001" : text}`;
}

const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60]];
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });

export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (seconds > 7 * 86_400) return new Date(iso).toLocaleDateString();
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? [];
  return unit ? AGO.format(-Math.floor(seconds / size), unit) : "just now";
}

export function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1_000_000 ? `${Math.round(count / 1000)} kB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** The model without its owner, as people say it. */
export const short = (model) => model.slice(model.indexOf("/") + 1);

const ACRONYMS = { hf: "HF", lora: "LoRA", wandb: "W&B", url: "URL", api: "API", num: "Number of", id: "ID" };

/** `num_inference_steps` → "Number of inference steps". */
export function label(name) {
  if (name === "model") return "Base model"; // the model itself is chosen above
  const words = name.split("_").map((word) => ACRONYMS[word] ?? word).join(" ");
  return words[0].toUpperCase() + words.slice(1);
}

/** The file behind a link is ours, or it is not shown as an image. */
export const isOurs = (url) => typeof url === "string" && url.startsWith(`${location.origin}/files/`);
