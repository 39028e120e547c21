// One side of a score: files that were dropped, a named reference, or a served model's own samples.

import { el } from "./dom.js";
import { acceptDrop, mayBeImage, named } from "./drop.js";

const ARCHIVE = /\.(zip|tar|tgz|tar\.gz|tbz2?|tar\.bz2|npz)$/i;

const megabytes = (files) => `${(files.reduce((sum, file) => sum + file.size, 0) / 1e6).toFixed(1)} MB`;

/** What a set is called, and what else there is to say of it; `others` are files that cannot be scored. */
const describe = (files, others = []) => {
  const out = others.length > 0 ? ` Left out, because they are not read here: ${named(others)}.` : "";
  if (files.length === 0)
    return ["Drop images or an archive", `A folder, a .zip or .tar, or an .npz of images or statistics.${out}`];
  const what = files.length === 1 ? files[0].name : `${files.length.toLocaleString("en")} files`;
  return [what, `${megabytes(files)}. Drop again to replace.${out}`];
};

/** Builds the panel for side `id` ("a" or "b"); `read()` gives the choice, or throws a sentence. */
export const buildSet = ({ id, title, models, references, kind }) => {
  let files = [];
  const input = el("input", {
    class: "hush",
    type: "file",
    multiple: true,
    accept: "image/*,.zip,.tar,.tgz,.gz,.tbz2,.bz2,.npz",
    id: `set-${id}-files`,
  });
  const words = el("strong");
  const hint = el("span", { class: "soft small" });
  const drop = el("label", { class: "drop", for: input.id }, input, words, hint);
  const take = (dropped) => {
    const fits = (file) => mayBeImage(file) || ARCHIVE.test(file.name);
    files = dropped.filter(fits);
    [words.textContent, hint.textContent] = describe(
      files,
      dropped.filter((file) => !fits(file)),
    );
  };
  input.addEventListener("change", () => take([...input.files]));
  acceptDrop(drop, take);
  take([]);

  const options = (list) => list.map((name) => el("option", { value: name }, name));
  const reference = el("select", { class: "input", id: `set-${id}-reference` }, ...options(references));
  const model = el("select", { class: "input", id: `set-${id}-model` }, ...options(models));
  const number = (name, value, min, max) =>
    el("input", { class: "input mono", type: "number", id: `set-${id}-${name}`, value, min, max, required: true });
  const n = number("n", 1000, 2, 50_000);
  const seed = number("seed", 0, 0, Number.MAX_SAFE_INTEGER);
  const field = (text, control) => el("div", { class: "field" }, el("label", { for: control.id }, text), control);

  const panels = {
    files: el("div", { class: "panel" }, drop),
    reference: el("div", { class: "panel" }, field("Reference", reference)),
    model: el(
      "div",
      { class: "panel" },
      field("Model", model),
      el("div", { class: "pair" }, field("Images", n), field("First seed", seed)),
    ),
  };
  const open = { files: true, reference: references.length > 0, model: models.length > 0 };
  let chosen = open[kind] ? kind : "files";
  const choose = (name) => {
    chosen = name;
    for (const [other, panel] of Object.entries(panels)) {
      panel.hidden = other !== name;
      for (const control of panel.querySelectorAll("input, select")) control.disabled = other !== name;
    }
  };
  const segment = (value, text) =>
    el(
      "label",
      { title: open[value] ? null : `No ${value} to choose from` },
      el("input", {
        type: "radio",
        name: `set-${id}`,
        value,
        checked: value === chosen,
        disabled: !open[value],
        onchange: () => choose(value),
      }),
      el("span", {}, text),
    );
  const node = el(
    "fieldset",
    { class: "set", id: `set-${id}` },
    el("legend", {}, title),
    el(
      "div",
      { class: "segments" },
      segment("files", "Files"),
      segment("reference", "Reference"),
      segment("model", "Model"),
    ),
    ...Object.values(panels),
  );
  choose(chosen);

  const read = () => {
    if (chosen === "reference") return { kind: "reference", name: reference.value, label: reference.value };
    if (chosen === "model")
      return { kind: "model", model: model.value, n: Number(n.value), seed: Number(seed.value), label: model.value };
    if (files.length === 0)
      throw new Error(`${title} is empty: drop images or an archive there, or choose a reference or a model.`);
    return { kind: "files", files, label: describe(files)[0] };
  };
  return { node, read, take };
};
