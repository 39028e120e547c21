// Explore: a map of images between four corner seeds, fetched once, then followed without the network.
// The lens blends the four frames around the point, so that movement is smooth at any speed.

import { animate, latentMap } from "./api.js";
import { byId, closeForm, el, latest, randomSeed, saveBlob, setOptions, showFault, voidNotice } from "./dom.js";
import { classOf, modelOf, seedOf } from "./link.js";

const COARSE = 5; // frames a side that show at once
const FINE = 15; // frames a side that replace them (225 images)
const EASE = 0.18; // share of the remaining way that a frame of animation moves
const PLACES = ["Top left", "Top right", "Bottom left", "Bottom right"];

const field = (name) => byId(`explore-${name}`);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const cell = document.createElement("canvas");

let models = [];
let corners = [];
let truncation = null; // of the sample that the exploration began at
let written = null; // the hash that this view wrote itself
let sheet = null; // {bitmap, side, size}: side x side frames of size x size pixels
let at = { x: 0.5, y: 0.5 };
let target = { x: 0.5, y: 0.5 };
let running = false;
let driftFrom = null;

const model = () => models.find((one) => one.name === field("model").value);
/** One class for all corners, or one for each, by its seed; null for models without. */
const classesOf = () => {
  const { classes } = model();
  if (!classes) return null;
  return field("class").value === ""
    ? corners.map((seed) => Number(seed % BigInt(classes.length)))
    : [Number(field("class").value)];
};

const wish = () => ({ model: model(), seeds: [...corners], classes: classesOf(), truncation });

export const start = (all) => {
  models = all.filter((one) => one.sampler);
  if (models.length === 0) {
    closeForm(field("form"));
    byId("explorer").replaceChildren(
      voidNotice(
        "No generator is being served",
        all.reason ?? "Exploring needs a generator in the service's model folder.",
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
    refresh();
  });
  field("class").addEventListener("change", () => refresh());
  field("form").addEventListener("submit", (event) => {
    event.preventDefault();
    corners = corners.map(randomSeed);
    refresh();
  });
  field("drift").addEventListener("click", () => setDrift(driftFrom === null));
  field("save").addEventListener("click", saveLoop);
  for (const axis of ["x", "y"])
    field(axis).addEventListener("input", () => aim({ ...target, [axis]: field(axis).value / 100 }));
  follow(field("lens"));
  follow(field("map-frame"));
  field("lens").addEventListener("keydown", onKey);
  onModel();
};

export const show = (query) => {
  if (models.length === 0) return;
  const isLink = ["model", "seed", "corners"].some((name) => query.has(name)) && location.hash !== written;
  if (!isLink && corners.length > 0) return;
  written = null; // until this one is drawn: Forward may come first, back to the last
  corners = PLACES.map(randomSeed);
  truncation = query.has("truncation") ? Number(query.get("truncation")) : null;
  try {
    if (query.has("model")) field("model").value = modelOf(models, query.get("model")).name;
    onModel();
    field("class").value = query.has("class") ? classOf(model(), query.get("class")) : "";
    if (query.has("corners")) corners = cornersOf(query.get("corners"));
    if (query.has("seed")) {
      corners[0] = seedOf(query.get("seed"));
      target = { x: 0, y: 0 };
    }
  } catch (error) {
    fetchMaps.abort();
    showFault(field("fault"), error);
    return;
  }
  refresh(false);
};

const cornersOf = (text) => {
  const seeds = text.split(",").map(seedOf);
  if (seeds.length === PLACES.length) return seeds;
  throw new Error(`This link has ${seeds.length} corners, and a map has four.`);
};

/** "#explore?model=dcgan&corners=1,2,3,4": what draws the same map again. */
const hashOf = ({ model, seeds, truncation }) => {
  const query = new URLSearchParams({ model: model.name });
  if (field("class").value !== "") query.set("class", field("class").value);
  if (truncation !== null) query.set("truncation", truncation);
  return `#explore?${query}&corners=${seeds}`;
};

const onModel = () => {
  const classes = model().classes;
  field("class-field").hidden = !classes;
  setOptions(field("class"), [
    { value: "", text: "One for each corner" },
    ...(classes ?? []).map((text, index) => ({ value: String(index), text })),
  ]);
};

/** Drag, or just move with a mouse: the target is where the pointer is. */
const follow = (surface) => {
  const toTarget = (event) => {
    const box = surface.getBoundingClientRect();
    setDrift(false);
    aim({ x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
  };
  surface.addEventListener("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId);
    toTarget(event);
  });
  surface.addEventListener("pointermove", (event) => event.buttons > 0 && toTarget(event));
};

const onKey = (event) => {
  const step = event.shiftKey ? 0.1 : 0.02;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  const move = moves[event.key];
  if (!move) return;
  event.preventDefault();
  setDrift(false);
  aim({ x: target.x + move[0], y: target.y + move[1] });
};

const clamp = (value) => Math.min(1, Math.max(0, value));

const aim = ({ x, y }) => {
  target = { x: clamp(x), y: clamp(y) };
  if (!running) {
    running = true;
    requestAnimationFrame(tick);
  }
};

const tick = (now) => {
  if (driftFrom !== null) {
    const t = (now - driftFrom) / 1000; // two slow sines that never line up: no path repeats soon
    target = { x: 0.5 - 0.48 * Math.cos(t * 0.53), y: 0.5 - 0.48 * Math.cos(t * 0.37 + 1) };
  }
  const ease = still.matches ? 1 : EASE;
  at = { x: at.x + (target.x - at.x) * ease, y: at.y + (target.y - at.y) * ease };
  const left = Math.max(Math.abs(target.x - at.x), Math.abs(target.y - at.y));
  if (left < 0.0005 && driftFrom === null) {
    at = { ...target };
    running = false;
  }
  paint();
  if (running) requestAnimationFrame(tick);
};

const setDrift = (on) => {
  if (on === (driftFrom !== null)) return;
  driftFrom = on ? performance.now() : null;
  field("drift").setAttribute("aria-pressed", String(on));
  aim(target);
};

/** The bilinear mix of the four frames around `at`, summed at the frames' own size and enlarged once. */
const paint = () => {
  for (const axis of ["x", "y"]) {
    field(axis).value = Math.round(target[axis] * 100);
    field(`${axis}-out`).value = field(axis).value;
  }
  field("cross").style.left = `${at.x * 100}%`;
  field("cross").style.top = `${at.y * 100}%`;
  if (!sheet) return;
  const { bitmap, side, size } = sheet;
  const [u, v] = [at.x * (side - 1), at.y * (side - 1)];
  const [column, row] = [Math.min(Math.floor(u), side - 2), Math.min(Math.floor(v), side - 2)];
  const [fx, fy] = [u - column, v - row];
  const ink = cell.getContext("2d", { alpha: false });
  ink.globalCompositeOperation = "source-over";
  ink.globalAlpha = 1;
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, size, size);
  ink.globalCompositeOperation = "lighter";
  for (const [dx, dy, weight] of [
    [0, 0, (1 - fx) * (1 - fy)],
    [1, 0, fx * (1 - fy)],
    [0, 1, (1 - fx) * fy],
    [1, 1, fx * fy],
  ]) {
    if (weight === 0) continue;
    ink.globalAlpha = weight;
    ink.drawImage(bitmap, (column + dx) * size, (row + dy) * size, size, size, 0, 0, size, size);
  }
  enlarge(field("lens"), cell, 0, 0, size);
};

const enlarge = (canvas, source, x, y, size) => {
  const ink = canvas.getContext("2d", { alpha: false });
  ink.imageSmoothingQuality = "high";
  ink.drawImage(source, x, y, size, size, 0, 0, canvas.width, canvas.height);
};

const showSheet = (bitmap, side) => {
  const size = bitmap.width / side;
  sheet = { bitmap, side, size };
  [cell.width, cell.height] = [size, size];
  const map = field("map");
  [map.width, map.height] = [Math.max(512, bitmap.width), Math.max(512, bitmap.width)];
  enlarge(map, bitmap, 0, 0, bitmap.width);
  const last = bitmap.width - size;
  const places = [
    [0, 0],
    [last, 0],
    [0, last],
    [last, last],
  ];
  for (const [index, canvas] of field("corners").querySelectorAll("canvas").entries())
    enlarge(canvas, bitmap, ...places[index], size);
  aim(target);
};

const showCorners = () => {
  const reroll = (index) => {
    corners[index] = randomSeed();
    refresh();
  };
  field("corners").replaceChildren(
    ...corners.map((seed, index) =>
      el(
        "button",
        { class: "corner", type: "button", title: "Pick another seed for this corner", onclick: () => reroll(index) },
        el("canvas", { width: 64, height: 64, "aria-hidden": "true" }),
        el("span", { class: "mono" }, el("b", {}, PLACES[index]), String(seed)),
      ),
    ),
  );
};

const fetchMaps = latest(async (signal, asked) => {
  for (const side of [COARSE, FINE]) {
    const blob = await latentMap(asked, side, signal);
    const bitmap = await createImageBitmap(blob);
    signal.throwIfAborted(); // decoding does not hear of a newer wish
    showSheet(bitmap, side);
    field("note").textContent = `${side} × ${side} images between four seeds; in between they are blended.`;
  }
});

/** `isNew`: Back leads to the map before; a link's map takes the link's own place. */
const refresh = async (isNew = true) => {
  const focused = [...field("corners").children].indexOf(document.activeElement);
  showCorners();
  if (focused >= 0) field("corners").children[focused].focus();
  try {
    showFault(field("fault"), null);
    const asked = wish();
    const hash = hashOf(asked);
    await fetchMaps(asked);
    written = hash;
    if (location.hash !== written && location.hash.startsWith("#explore"))
      history[isNew ? "pushState" : "replaceState"](null, "", written);
  } catch (error) {
    showFault(field("fault"), error, () => refresh(isNew));
  }
};

const saveLoop = async () => {
  const format = field("format").value;
  field("save").disabled = true;
  try {
    showFault(field("fault"), null);
    const around = (four) => (four?.length === 4 ? [four[0], four[1], four[3], four[2]] : four); // along the edges
    const asked = wish();
    const blob = await animate({ ...asked, seeds: around(asked.seeds), classes: around(asked.classes) }, format);
    saveBlob(blob, `${model().name}-loop.${format === "apng" ? "png" : format}`);
  } catch (error) {
    showFault(field("fault"), error, saveLoop);
  } finally {
    field("save").disabled = false;
  }
};
