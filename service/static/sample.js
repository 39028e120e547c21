// Sample: a contact sheet of seeds. The address bar holds what was drawn, so that a link draws it again.

import { drawSamples, sampleZip } from "./api.js";
import { byId, closeForm, el, latest, randomSeed, saveBlob, setOptions, showFault, voidNotice } from "./dom.js";
import { openLightbox } from "./lightbox.js";
import { classOf, modelOf, seedOf } from "./link.js";

const FULL = 3; // the truncation slider's end stands for "off"
const TILE = 108; // the width that tiles come near to, in CSS pixels
let models = [];
let urls = [];
let written = null; // the hash that this view wrote itself

const field = (name) => byId(`sample-${name}`);
const model = () => models.find((one) => one.name === field("model").value);

export const start = (all) => {
  models = all.filter((one) => one.sampler);
  if (models.length === 0) {
    closeForm(field("form"));
    const reason =
      all.reason ?? "Put a generator's .safetensors file in the service's model folder; it appears here by itself.";
    field("sheet").replaceChildren(voidNotice("No generator is being served", reason));
    return;
  }
  setOptions(
    field("model"),
    models.map(({ name, label }) => ({ value: name, text: label })),
  );
  field("seed").value = randomSeed();
  if (innerWidth < 860) field("n").value = 16;
  field("model").addEventListener("change", () => {
    onModel();
    draw();
  });
  field("n").addEventListener("input", onRanges);
  field("truncation").addEventListener("input", onRanges);
  for (const name of ["n", "truncation", "class", "seed"]) field(name).addEventListener("change", () => draw());
  field("dice").addEventListener("click", () => {
    field("seed").value = randomSeed();
    draw();
  });
  field("form").addEventListener("submit", (event) => {
    event.preventDefault();
    // Enter in the seed field draws that seed; the button draws new ones.
    if (event.submitter === field("go") && document.activeElement !== field("seed")) field("seed").value = randomSeed();
    draw();
  });
  field("save").addEventListener("click", saveAll);
  onModel();
  onRanges();
};

export const show = (query) => {
  if (models.length === 0) return;
  if ((query.has("seed") || query.has("model")) && location.hash !== written) follow(query);
  else if (!field("sheet").firstChild) draw(false);
};

/** Draws what a link says, or says why not. */
const follow = (query) => {
  written = null; // until this one is drawn: Forward may come first, back to the last
  field("seed").value = query.get("seed") ?? randomSeed();
  field("n").value = query.get("n") ?? 1;
  field("truncation").value = query.get("truncation") ?? FULL;
  onRanges();
  try {
    if (query.has("model")) field("model").value = modelOf(models, query.get("model")).name;
    onModel();
    field("class").value = query.has("class") ? classOf(model(), query.get("class")) : "";
    seedOf(field("seed").value);
  } catch (error) {
    drawLatest.abort();
    clear();
    showFault(field("fault"), error);
    return;
  }
  draw(false);
};

const clear = () => {
  field("sheet").replaceChildren();
  field("note").textContent = "";
  field("save").hidden = true;
};

const onModel = () => {
  const classes = model().classes;
  field("class-field").hidden = !classes;
  setOptions(field("class"), [
    { value: "", text: "All, in turn" },
    ...(classes ?? []).map((text, index) => ({ value: String(index), text })),
  ]);
};

const onRanges = () => {
  field("n-out").value = field("n").value;
  const truncation = Number(field("truncation").value);
  field("truncation-out").value = truncation >= FULL ? "off" : truncation.toFixed(1);
};

const wishes = () => {
  const truncation = Number(field("truncation").value);
  return {
    model: model(),
    n: Number(field("n").value),
    seed: BigInt(field("seed").value),
    classIndex: field("class").value === "" ? null : Number(field("class").value),
    truncation: truncation >= FULL ? null : truncation,
  };
};

/** "#sample?model=dcgan&seed=7&n=32": what draws the same pixels again. */
const hashOf = ({ model, n, seed, classIndex, truncation }) => {
  const query = new URLSearchParams({ model: model.name, seed, n });
  if (classIndex !== null) query.set("class", classIndex);
  if (truncation !== null) query.set("truncation", truncation);
  return `#sample?${query}`;
};

/** As many columns as fit, moved a little where that fills the last row. */
const columnsFor = (n, width) => {
  const narrow = width < 500;
  const natural = Math.max(1, Math.round(width / (narrow ? TILE * 0.8 : TILE)));
  if (n <= natural) return Math.max(n, narrow ? 2 : 4);
  const near = [0, 1, -1, 2, -2].map((by) => natural + by).filter((columns) => columns > 1);
  return near.find((columns) => n % columns === 0) ?? natural;
};

const drawLatest = latest(async (signal, wish) => {
  const sheet = field("sheet");
  sheet.style.setProperty("--columns", columnsFor(wish.n, sheet.clientWidth));
  if (sheet.querySelectorAll("button").length !== wish.n) {
    sheet.replaceChildren(...Array.from({ length: wish.n }, () => el("div", { class: "tile wait" })));
  }
  const from = performance.now();
  const answer = await drawSamples(wish, signal);
  const took = performance.now() - from;
  for (const url of urls) URL.revokeObjectURL(url);
  const items = answer.images.map((blob, index) => ({
    url: URL.createObjectURL(blob),
    blob,
    seed: answer.seeds[index],
    label: answer.labels?.[index] ?? null,
    classIndex: answer.classes?.[index] ?? null,
    model: wish.model,
    digest: answer.digest,
    truncation: wish.truncation,
    link: hashOf({ ...wish, n: 1, seed: answer.seeds[index], classIndex: answer.classes?.[index] ?? null }),
  }));
  urls = items.map(({ url }) => url);
  sheet.replaceChildren(...items.map((item, index) => tile(item, () => openLightbox(items, index))));
  const last = answer.seeds.at(-1);
  const range = items.length === 1 ? `Seed ${last}` : `Seeds ${answer.seeds[0]} to ${last}`;
  field("note").textContent =
    `${range}, drawn in ${took < 1000 ? `${Math.round(took)} ms` : `${(took / 1000).toFixed(1)} s`}`;
  field("save").hidden = false;
});

const tile = (item, open) => {
  const name = item.label ? `Seed ${item.seed}, ${item.label}` : `Seed ${item.seed}`;
  return el(
    "button",
    { class: "tile", type: "button", title: name, onclick: open },
    el("img", { src: item.url, alt: name, decoding: "async" }),
  );
};

/** `isNew`: Back leads to what was drawn before; a link's drawing takes the link's own place. */
const draw = async (isNew = true) => {
  if (!field("form").reportValidity()) return;
  const wish = wishes();
  try {
    showFault(field("fault"), null);
    await drawLatest(wish);
    written = hashOf(wish);
    if (location.hash !== written && (location.hash.startsWith("#sample") || !location.hash))
      history[isNew ? "pushState" : "replaceState"](null, "", written);
  } catch (error) {
    if (error.name === "AbortError") return;
    clear();
    showFault(field("fault"), error, () => draw(isNew));
  }
};

const saveAll = async () => {
  if (!field("form").reportValidity()) return;
  const wish = wishes();
  try {
    saveBlob(await sampleZip(wish), `${wish.model.name}-seed-${wish.seed}.zip`);
  } catch (error) {
    showFault(field("fault"), error, saveAll);
  }
};
