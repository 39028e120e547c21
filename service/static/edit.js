// Edit: a photo or a sample, drawn from its place in latent space, which sliders move. The address bar holds the place
// and the sliders, so that a link draws the same.

import { drawPlace, encodePhoto } from "./api.js";
import {
  byId,
  closeForm,
  el,
  latest,
  pretty,
  randomSeed,
  saveBlob,
  seconds,
  setOptions,
  showFault,
  voidNotice,
} from "./dom.js";
import { acceptDrop, acceptPaste, isImage, named } from "./drop.js";
import { classOf, modelOf } from "./link.js";
import { fit } from "./photo.js";
import { between, readPlace, readSteps, writePlace, writeSteps } from "./place.js";

const FIRST = 6; // directions that show at once; the others are one click away
const REACH = 4; // standard deviations that a slider goes to either side
const ENDS = ["first", "second"];

const field = (name) => byId(`edit-${name}`);

let models = [];
let ends = [null, null]; // {seed} or {latent, space}, with {url, note} of a photo
let steps = {};
let written = null; // the hash that this view wrote itself
let drawing = false;
let again = false; // something changed while a picture was being drawn
let shown = null; // the last picture, as a blob

const model = () => models.find((one) => one.name === field("model").value);

export const start = (all) => {
  models = all.filter((one) => one.sampler);
  if (models.length === 0) {
    closeForm(field("form"));
    const reason = all.reason ?? "Editing needs a generator in the service's model folder.";
    field("board").replaceChildren(voidNotice("No generator is being served", reason));
    return;
  }
  setOptions(
    field("model"),
    models.map(({ name, label }) => ({ value: name, text: label })),
  );
  // Photos find their place at once where there is an encoder.
  field("model").value = (models.find((one) => one.encoder) ?? models[0]).name;
  field("model").addEventListener("change", () => {
    onModel();
    takeSample(0);
  });
  field("class").addEventListener("change", redraw);
  field("form").addEventListener("submit", (event) => event.preventDefault());
  for (const [index, end] of ENDS.entries()) {
    field(`${end}-file`).addEventListener("change", (event) => {
      takePhoto(index, [...event.target.files]);
      event.target.value = ""; // so that the same file may be chosen again
    });
    field(`${end}-sample`).addEventListener("click", () => takeSample(index));
  }
  field("at").addEventListener("input", redraw);
  field("reset").addEventListener("click", reset);
  field("save").addEventListener("click", () => saveBlob(shown, `${model().name}-edit.png`));
  field("cancel").addEventListener("click", () => find.abort());
  // A photo that is dropped is the first picture; with one there, the second.
  const take = (files) => takePhoto(ends[0]?.url ? 1 : 0, files);
  acceptDrop(byId("view-edit"), take);
  acceptPaste(() => !byId("view-edit").hidden, take);
  onModel();
};

export const show = (query) => {
  if (models.length === 0) return;
  if (query.has("from") && location.hash !== written) follow(query);
  else if (ends[0] === null) takeSample(0);
};

/** Draws what a link says, or says why not. */
const follow = (query) => {
  try {
    if (query.has("model")) field("model").value = modelOf(models, query.get("model")).name;
    onModel();
    if (query.has("class")) field("class").value = classOf(model(), query.get("class"));
    ends = ["from", "to"].map((name) => (query.has(name) ? readPlace(query.get(name), model()) : null));
  } catch (error) {
    return showFault(field("fault"), error);
  }
  field("at").value = query.get("at") ?? 0;
  steps = readSteps(query.get("steps") ?? "");
  showSliders();
  showEnds();
  redraw();
};

const onModel = () => {
  const { classes } = model();
  field("class-field").hidden = !classes;
  setOptions(
    field("class"),
    (classes ?? []).map((text, index) => ({ value: String(index), text })),
  );
  setEnds([null, null]);
  steps = {};
  field("at").value = 0;
  showSliders();
  showEnds();
};

const setEnds = (now) => {
  for (const end of ends) if (end?.url && !now.includes(end)) URL.revokeObjectURL(end.url);
  ends = now;
};

const setEnd = (index, place) => {
  const now = [...ends];
  now[index] = place;
  setEnds(now);
  if (index === 1) field("at").value = 50;
  const { classes } = model();
  if (index === 0 && classes) field("class").value = place.label ?? place.seed % BigInt(classes.length);
  showEnds();
  redraw();
};

const reset = () => {
  steps = {};
  field("at").value = 0;
  setEnds([ends[0], null]);
  showSliders();
  showEnds();
  redraw();
};

const takeSample = (index) => {
  find.abort();
  setEnd(index, { seed: randomSeed() });
};

const takePhoto = async (index, files) => {
  const photo = files.find(isImage);
  if (photo === undefined) {
    if (files.length > 0) showFault(field("fault"), { message: `${named(files)} is no image that can be read here.` });
    return;
  }
  const url = URL.createObjectURL(photo);
  try {
    showFault(field("fault"), null);
    setEnd(index, await find(photo, url));
  } catch (error) {
    URL.revokeObjectURL(url);
    showFault(field("fault"), error, error.name === "AbortError" ? null : () => takePhoto(index, files));
  } finally {
    field("work").hidden = true;
  }
};

/** The place of a photo: at once by an encoder, by a job without one. */
const find = latest(async (signal, photo, url) => {
  const asItIs = { file: photo };
  const { file } = await fit(photo, url, model().mostPixels).catch(() => asItIs); // the service says why not
  signal.throwIfAborted();
  field("work").hidden = false;
  onProgress({ done: 0, total: 0, left: null });
  const found = await encodePhoto({ model: model(), file }, { signal, onProgress });
  signal.throwIfAborted();
  return { latent: found.latent, space: found.space, label: found.class, url, note: noteOf(found) };
});

const onProgress = ({ done, total, left }) => {
  field("stage").textContent =
    total > 0
      ? `Searching, step ${done} of ${total}${left === null ? "" : `, about ${seconds(left)} left`}`
      : "Finding the place of the photo";
  const bar = field("progress");
  if (total > 0) bar.value = done / total;
  else bar.removeAttribute("value");
};

const noteOf = ({ l1, perceptual }) =>
  `Found again within ${pretty(l1 * 100, 1)} % (L1)${perceptual === null ? "" : `, ${pretty(perceptual)} perceptual`}`;

const showEnds = () => {
  field("morph").hidden = ends[1] === null;
  for (const [index, end] of ENDS.entries()) {
    const place = ends[index];
    field(`${end}-figure`).hidden = place === null;
    field(`${end}-picture`).replaceChildren(...(place === null ? [] : [pictureOf(place)]));
    field(`${end}-note`).textContent = place === null ? "" : (place.note ?? `Seed ${place.seed ?? "of a link"}`);
  }
};

/** A photo as it came, cut to a square as the model sees it; of a sample, what its place draws. */
const pictureOf = (place) => {
  const image = el("img", { alt: place.url ? "The photo" : "The picture as it was", src: place.url ?? null });
  if (!place.url) {
    drawPlace(model(), { ...between(model(), place, null, 0), ...classWish() }).then(
      (blob) => {
        place.url = URL.createObjectURL(blob);
        image.src = place.url;
      },
      () => image.remove(), // the picture beside it says why
    );
  }
  return image;
};

const classWish = () => (model().classes ? { class: Number(field("class").value) } : {});

const showSliders = () => {
  // What people made comes first.
  const names = [...model().steps].sort((one, other) => Number(other.kept) - Number(one.kept)).map(({ name }) => name);
  field("steps").replaceChildren(...names.slice(0, FIRST).map(slider));
  field("more-steps").replaceChildren(...names.slice(FIRST).map(slider));
  field("more").hidden = names.length <= FIRST;
};

const slider = (name) => {
  const id = `edit-step-${name}`;
  const output = el("output", { for: id }, text(steps[name] ?? 0));
  const input = el("input", {
    id,
    type: "range",
    min: -REACH,
    max: REACH,
    step: 0.1,
    value: steps[name] ?? 0,
    oninput: () => {
      const amount = Number(input.value);
      output.textContent = text(amount);
      if (amount === 0) delete steps[name];
      else steps[name] = amount;
      redraw();
    },
  });
  return el("div", { class: "field" }, el("label", { for: id }, name, " ", output), input);
};

const text = (amount) => (amount > 0 ? `+${amount.toFixed(1)}` : amount.toFixed(1));

/** One picture at a time: what changes meanwhile is drawn next, so that the picture follows the hand. */
const redraw = async () => {
  if (ends[0] === null) return;
  again = true;
  if (drawing) return;
  drawing = true;
  try {
    while (again) {
      again = false;
      await draw();
    }
  } catch (error) {
    showFault(field("fault"), error, redraw);
  } finally {
    drawing = false;
  }
};

const draw = async () => {
  const at = Number(field("at").value) / 100;
  field("at-out").value = `${field("at").value} %`;
  const asked = model();
  const wish = { ...between(asked, ends[0], ends[1], at), directions: { ...steps }, ...classWish() };
  const hash = hashOf();
  const from = performance.now();
  const blob = await drawPlace(asked, wish);
  const bitmap = await createImageBitmap(blob);
  shown = blob;
  const canvas = field("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  canvas.dataset.drawn = hash;
  field("save").disabled = false;
  field("note").textContent = `Drawn in ${Math.round(performance.now() - from)} ms`;
  showFault(field("fault"), null);
  written = hash;
  if (location.hash.startsWith("#edit")) history.replaceState(null, "", written);
};

/** "#edit?model=dcgan&from=seed:7&steps=sefa-1:2": what draws the same picture again. */
const hashOf = () => {
  const query = new URLSearchParams({ model: model().name, from: writePlace(ends[0]) });
  if (ends[1] !== null) {
    query.set("to", writePlace(ends[1]));
    query.set("at", field("at").value);
  }
  if (model().classes) query.set("class", field("class").value);
  if (Object.keys(steps).length > 0) query.set("steps", writeSteps(steps));
  return `#edit?${query}`;
};
