// Translate: a photo goes up as it is, and comes back beside itself.

import { translateImage } from "./api.js";
import { showCompare, sizeOf } from "./compare.js";
import { byId, el, latest, setOptions, showFault, voidNotice } from "./dom.js";
import { acceptDrop, acceptPaste, isImage } from "./drop.js";

const field = (name) => byId(`translate-${name}`);

let models = [];
let works = []; // {file, before, after, size, direction, loss}
let shown = 0;

const model = () => models.find((one) => one.name === field("model").value);
const direction = () => field("segments").querySelector("input:checked").value;

export const start = (all) => {
  models = all.filter((one) => one.translator);
  if (models.length === 0) {
    field("form").querySelectorAll("button, input, select").forEach((control) => (control.disabled = true));
    field("drop").replaceWith(voidNotice("No translator is being served", all.reason ?? "Put a translator's .safetensors file in the service's model folder; it appears here by itself."));
    return;
  }
  setOptions(field("model"), models.map(({ name, label }) => ({ value: name, text: label })));
  field("model").addEventListener("change", () => (onModel(), redo()));
  field("format").addEventListener("change", () => redo());
  field("cycle").addEventListener("change", () => redo());
  for (const name of ["file", "camera"]) {
    field(name).addEventListener("change", (event) => {
      take([...event.target.files]);
      event.target.value = ""; // so that the same file may be chosen again
    });
  }
  field("again").addEventListener("click", reset);
  field("form").addEventListener("submit", (event) => event.preventDefault());
  acceptDrop(byId("view-translate"), take);
  acceptPaste(() => !byId("view-translate").hidden, take);
  onModel();
};

const onModel = () => {
  const { domains, directions } = model();
  const [a, b] = domains;
  const names = { a_to_b: `${a} to ${b}`, b_to_a: `${b} to ${a}` };
  const choice = (value, index) =>
    el("label", {}, el("input", { type: "radio", name: "direction", value, checked: index === 0, onchange: redo }), el("span", {}, names[value]));
  field("segments").replaceChildren(...directions.map(choice));
  field("cycle").disabled = directions.length < 2; // a round trip needs the way back
};

const reset = () => {
  works.forEach(({ before, after }) => [before, after].forEach((url) => url && URL.revokeObjectURL(url)));
  works = [];
  field("result").hidden = true;
  field("drop").hidden = false;
  showFault(field("fault"), null);
};

const take = (files) => {
  const images = files.filter(isImage);
  if (images.length === 0) {
    if (files.length > 0) showFault(field("fault"), { message: `${files[0].name} is not an image. PNG, JPEG and WebP photos work.` });
    return;
  }
  reset();
  works = images.map((file) => ({ file, before: URL.createObjectURL(file), after: null, loss: null }));
  shown = 0;
  redo();
};

const translateAll = latest(async (signal) => {
  const wish = { model: model(), direction: direction(), format: field("format").value, cycle: field("cycle").checked && !field("cycle").disabled };
  for (const work of works) {
    if (work.after) URL.revokeObjectURL(work.after);
    Object.assign(work, { after: null, loss: null, error: null, direction: wish.direction });
  }
  field("drop").hidden = true;
  field("result").hidden = false;
  for (const [index, work] of works.entries()) {
    work.size = work.size ?? (await sizeOf(work.before).catch(() => ({ width: 1, height: 1 })));
    if (index === shown) render();
    try {
      const from = performance.now();
      const answer = await translateImage({ ...wish, file: work.file }, signal);
      Object.assign(work, { after: URL.createObjectURL(answer.blob), type: answer.blob.type, loss: answer.loss, took: performance.now() - from });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      work.error = error;
    }
    render();
  }
});

const redo = async () => {
  if (works.length === 0) return;
  try {
    await translateAll();
  } catch (error) {
    showFault(field("fault"), error, redo);
  }
};

const names = (work) => (work.direction === "a_to_b" ? model().domains : [...model().domains].reverse());

const noteOf = (work) => {
  if (work.error) return "";
  if (!work.after) return `Translating ${work.file.name}`;
  const parts = [`${work.size.width} × ${work.size.height}`, `${(work.took / 1000).toFixed(1)} s`];
  if (work.loss !== null) parts.push(`round trip differs by ${(work.loss * 100).toFixed(1)} % (L1)`);
  return parts.join(" · ");
};

const render = () => {
  const work = works[shown];
  const [beforeName, afterName] = names(work);
  showFault(field("fault"), work.error ?? null, work.error ? redo : null);
  // A photo that neither side can read has no size: leave the stage to the sentence.
  field("compare").hidden = Boolean(work.error) && work.size.width <= 1;
  showCompare(field("compare"), { ...work, ...work.size, beforeName, afterName });
  if (work.error) field("compare").removeAttribute("data-busy");
  field("note").textContent = noteOf(work);
  const save = field("save");
  save.hidden = !work.after;
  if (work.after) {
    save.href = work.after;
    save.download = `${work.file.name.replace(/\.[^.]+$/, "")}-${afterName}.${work.type.split("/")[1]}`;
  }
  field("reel").hidden = works.length < 2;
  const focused = [...field("reel").children].indexOf(document.activeElement);
  const choose = (index) => {
    shown = index;
    render();
  };
  field("reel").replaceChildren(
    ...works.map((one, index) =>
      el(
        "button",
        { type: "button", "aria-pressed": String(index === shown), "aria-label": one.file.name, onclick: () => choose(index) },
        el("img", { src: one.after ?? one.before, alt: "" }),
      ),
    ),
  );
  field("reel").children[focused]?.focus(); // the buttons are new, the place is the same
};
