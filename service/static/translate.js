// Translate: a photo or a clip goes up, and comes back beside itself, or a photo's mask does, of a model that attends. The
// address bar holds what was chosen for such a model; the photo is one's own.

import { translateImage } from "./api.js";
import { closeCamera, startCamera } from "./camera.js";
import { isClip, isVideo, shown as picture, sizeOf } from "./clip.js";
import { showCompare } from "./compare.js";
import { byId, closeForm, el, latest, pretty, saveBlob, seconds, setOptions, showFault, voidNotice } from "./dom.js";
import { acceptDrop, acceptPaste, isImage, named } from "./drop.js";
import { modelOf } from "./link.js";
import { fit } from "./photo.js";
import { zipOf } from "./zip.js";

const LONG = 1_048_576; // pixels from which on a slow machine may not be done within a request's deadline

const field = (name) => byId(`translate-${name}`);

let models = [];
let written = null; // the hash that this view wrote itself
let works = []; // {file, before, after, mask, preview, progress, size, whole, direction, loss}
let shown = 0;
let skipped = null; // the sentence about files that were not taken

const model = () => models.find((one) => one.name === field("model").value);
const direction = () => field("segments").querySelector("input:checked").value;
const strength = () => field("strength").value / 100;
const hasMask = (work) => Boolean(work.mask) && field("mask").checked;

export const start = (all) => {
  models = all.filter((one) => one.translator);
  if (models.length === 0) {
    closeForm(field("form"));
    field("drop").replaceWith(
      voidNotice(
        "No translator is being served",
        all.reason ?? "Put a translator's .safetensors file in the service's model folder; it appears here by itself.",
      ),
    );
    return;
  }
  setOptions(
    field("model"),
    models.map(({ name, label }) => ({ value: name, text: label })),
  );
  field("model").addEventListener("change", () => {
    onModel();
    redo();
  });
  for (const name of ["format", "cycle", "strength"]) field(name).addEventListener("change", redo);
  field("strength").addEventListener("input", tellStrength);
  field("mask").addEventListener("change", () => {
    keepLink();
    if (works.length > 0) render();
  });
  for (const name of ["file", "camera"]) {
    field(name).addEventListener("change", (event) => {
      take([...event.target.files]);
      event.target.value = ""; // so that the same file may be chosen again
    });
  }
  field("again").addEventListener("click", reset);
  field("save-all").addEventListener("click", saveAll);
  field("form").addEventListener("submit", (event) => event.preventDefault());
  acceptDrop(byId("view-translate"), take);
  startCamera(
    () => ({ model: model(), direction: direction(), strength: strength() }),
    (isOpen) => {
      reset();
      field("drop").hidden = isOpen;
    },
  );
  acceptPaste(() => !byId("view-translate").hidden, take);
  onModel();
};

/** What a link chooses, or why it cannot be had. */
export const show = (query) => {
  if (models.length === 0 || !query.has("model") || location.hash === written) return;
  try {
    field("model").value = modelOf(models, query.get("model")).name;
  } catch (error) {
    return showFault(field("fault"), error);
  }
  field("strength").value = 100 * (query.get("strength") ?? 1);
  field("mask").checked = query.has("mask");
  onModel();
  const chosen = [...field("segments").querySelectorAll("input")].find(({ value }) => value === query.get("direction"));
  if (chosen) chosen.checked = true;
  redo();
};

const keepLink = () => {
  const chosen = new URLSearchParams({ model: model().name, direction: direction(), strength: strength() });
  if (field("mask").checked) chosen.set("mask", "1");
  written = model().attends ? `#translate?${chosen}` : "#translate";
  if (location.hash.startsWith("#translate")) history.replaceState(null, "", written);
};

const tellStrength = () => {
  field("strength-out").value = `${field("strength").value} %`;
};

const onModel = () => {
  const { attends, domains, directions } = model();
  for (const name of ["strength-field", "mask-field"]) field(name).hidden = !attends;
  tellStrength();
  const [a, b] = domains;
  const names = { a_to_b: `${a} to ${b}`, b_to_a: `${b} to ${a}` };
  const choice = (value, index) =>
    el(
      "label",
      {},
      el("input", { type: "radio", name: "direction", value, checked: index === 0, onchange: redo }),
      el("span", {}, names[value]),
    );
  field("segments").replaceChildren(...directions.map(choice));
  field("cycle").disabled = directions.length < 2; // a round trip needs the way back
};

const reset = () => {
  translateAll.abort();
  for (const work of works) {
    URL.revokeObjectURL(work.before);
    forget(work);
  }
  works = [];
  skipped = null;
  field("result").hidden = true;
  field("drop").hidden = false;
  showFault(field("fault"), null);
};

const take = (files) => {
  const isRead = (file) => isImage(file) || isVideo(file);
  const images = files.filter(isRead);
  const unread = sentenceOf(files.filter((file) => !isRead(file)));
  if (images.length === 0) return unread && showFault(field("fault"), unread);
  closeCamera();
  reset();
  skipped = unread;
  works = images.map((file) => ({ file, before: URL.createObjectURL(file), after: null, loss: null }));
  shown = 0;
  redo();
};

const sentenceOf = (files) => {
  if (files.length === 0) return null;
  const verb = files.length === 1 ? "is not an image" : "are not images";
  return {
    message: `${named(files)} ${verb} that can be read here. PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF and PPM can, and MP4 and WebM.`,
  };
};

const translateAll = latest(async (signal) => {
  const wish = {
    model: model(),
    direction: direction(),
    format: field("format").value,
    cycle: field("cycle").checked && !field("cycle").disabled,
    strength: strength(),
  };
  for (const work of works) {
    forget(work);
    Object.assign(work, { after: null, mask: null, preview: null, progress: null, loss: null, error: null });
    work.direction = wish.direction;
  }
  field("drop").hidden = true;
  field("result").hidden = false;
  for (const [index, work] of works.entries()) {
    // What the browser cannot read goes up as it is: the service may, or says why not.
    const asItIs = { file: work.file, size: { width: 1, height: 1 }, whole: null };
    work.clip = await isClip(work.file);
    const sent = await (work.clip
      ? sizeOf(work.file, work.before).then((size) => ({ ...asItIs, size }))
      : fit(work.file, work.before, wish.model.mostPixels)
    ).catch(() => asItIs);
    signal.throwIfAborted(); // decoding does not hear of a newer wish
    Object.assign(work, { size: sent.size, whole: sent.whole });
    if (index === shown) render();
    try {
      const from = performance.now();
      const pixels = sent.size.width * sent.size.height;
      const long = work.clip || pixels > Math.min(LONG, wish.model.mostAtOnce); // a clip's frames are not known here
      const asked = work.clip ? { ...wish, format: null, cycle: false } : { ...wish, mask: wish.model.attends };
      const answer = await translateImage({ ...asked, file: sent.file, long }, signal, following(work, index));
      signal.throwIfAborted();
      if (work.clip) {
        URL.revokeObjectURL(work.before);
        work.before = URL.createObjectURL(work.file); // a new address begins anew, in step with the answer
      }
      Object.assign(work, {
        after: URL.createObjectURL(answer.blob),
        blob: answer.blob,
        mask: answer.mask && URL.createObjectURL(answer.mask),
        loss: answer.loss,
        took: performance.now() - from,
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      work.error = error;
    }
    render();
  }
});

/** What a job tells of a photo, shown while that is the one that is looked at. */
const following = (work, index) => {
  return {
    progress: (progress) => {
      work.progress = progress;
      if (index === shown) showStage(work);
    },
    preview: (blob) => {
      if (work.preview) URL.revokeObjectURL(work.preview);
      work.preview = URL.createObjectURL(blob);
      if (index === shown) render();
    },
  };
};

const forget = (work) => {
  for (const url of [work.after, work.mask, work.preview]) if (url) URL.revokeObjectURL(url);
};

const redo = async () => {
  keepLink();
  if (works.length === 0) return;
  try {
    await translateAll();
  } catch (error) {
    showFault(field("fault"), error, redo);
  }
};

const names = (work) => (work.direction === "a_to_b" ? model().domains : [...model().domains].reverse());

const sidesOf = ({ width, height }) => `${width} × ${height}`;

const nameOf = (work) =>
  `${work.file.name.replace(/\.[^.]+$/, "")}-${names(work)[1]}.${work.blob.type.split("/")[1].replace("apng", "png")}`;

/** One zip of what is translated, numbered, since photos of two folders may have one name. */
const saveAll = async () => {
  const done = works.filter(({ after }) => after);
  const digits = String(done.length).length;
  const numbered = (work, index) => `${String(index + 1).padStart(digits, "0")}-${nameOf(work)}`;
  const files = done.map((work, index) => ({ name: numbered(work, index), blob: work.blob }));
  saveBlob(await zipOf(files), `${names(done[0])[1]}.zip`);
};

const stageOf = ({ file, progress, clip }) => {
  if (!progress) return `Translating ${file.name}`;
  if (progress.state === "queued") return `${file.name} waits for another job`;
  const counted = progress.total > 0 ? `, ${clip ? "frame" : "part"} ${progress.done} of ${progress.total}` : "";
  const remaining = progress.left === null ? "" : `, about ${seconds(progress.left)} left`;
  return `Translating ${file.name}${counted}${remaining}`;
};

/** Its progress alone: what is shown of a photo of many pixels is not drawn anew for that. */
const showStage = (work) => {
  const { after, error, progress } = work;
  const bar = field("progress");
  field("note").textContent = noteOf(work);
  bar.hidden = Boolean(after || error || !progress);
  if (progress?.total > 0) bar.value = progress.done / progress.total;
  else bar.removeAttribute("value");
};

const noteOf = (work) => {
  if (work.error) return "";
  const most = `${pretty(model().mostPixels / 1e6, 1)} megapixels`;
  const smaller = work.whole ? `, made smaller from ${sidesOf(work.whole)}: ${most} at most are translated here` : "";
  if (!work.after) return `${stageOf(work)}${smaller}`;
  const parts = [`${sidesOf(work.size)}${smaller}`, `${(work.took / 1000).toFixed(1)} s`];
  if (work.loss !== null) parts.push(`round trip differs by ${(work.loss * 100).toFixed(1)} % (L1)`);
  return parts.join(" · ");
};

const render = () => {
  const work = works[shown];
  const [beforeName, afterName] = names(work);
  showFault(field("fault"), work.error ?? skipped, work.error ? redo : null);
  // A photo that neither side can read has no size: leave the stage to the sentence.
  field("compare").hidden = Boolean(work.error) && work.size.width <= 1;
  const seen = hasMask(work) ? { after: work.mask, afterName: "mask" } : { afterName };
  showCompare(field("compare"), { ...work, ...work.size, beforeName, ...seen, video: isVideo(work.file) });
  if (work.error) field("compare").removeAttribute("data-busy");
  showStage(work);
  const save = field("save");
  save.hidden = !work.after;
  if (work.after) {
    save.href = work.after;
    save.download = nameOf(work);
  }
  field("save-all").hidden = works.filter(({ after }) => after).length < 2;
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
        {
          type: "button",
          "aria-pressed": String(index === shown),
          "aria-label": one.file.name,
          onclick: () => choose(index),
        },
        picture({ src: one.after ?? one.before, alt: "" }, isVideo(one.file)),
      ),
    ),
  );
  field("reel").children[focused]?.focus(); // the buttons are new, the place is the same
};
