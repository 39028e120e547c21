// Score: two sets in, a job runs, the distances come back with intervals and a plot.

import { getReferences, runScore } from "./api.js";
import { byId, el, pretty, saveBlob, seconds, showFault } from "./dom.js";
import { distancePlot, sharePlot } from "./plot.js";
import { buildSet } from "./sets.js";

const field = (name) => byId(`score-${name}`);
const history = []; // earlier answers of this visit, so that the plot can set them side by side
const ROWS = 6; // answers that one plot shows
let sides = {};
let controller = null;

export const start = async (all) => {
  field("form").addEventListener("submit", submit);
  field("cancel").addEventListener("click", () => controller?.abort());
  addEventListener("resize", () => history.length > 0 && render());
  // References are a convenience here: without them files and models still work.
  const references = await getReferences().catch(() => []);
  const models = all.filter((one) => one.sampler).map(({ name }) => name);
  sides = {
    a: buildSet({ id: "a", title: "First set", models, references, kind: "files" }),
    b: buildSet({
      id: "b",
      title: "Second set",
      models,
      references,
      kind: references.length > 0 ? "reference" : "files",
    }),
  };
  field("sets").replaceChildren(sides.a.node, sides.b.node);
};

const wishes = () => {
  const metrics = [...field("metrics").querySelectorAll("input:checked")].map(({ value }) => value);
  if (metrics.length === 0) throw new Error("Choose at least one measure.");
  return { a: sides.a.read(), b: sides.b.read(), metrics, protocol: field("protocol").value };
};

const STAGES = { queued: "Waiting for another job", running: "Reading the images" };

/** All images read, and still running: what is left is arithmetic. */
const stageOf = ({ state, done, total, left }) =>
  total > 0 && done >= total
    ? { stage: "Computing the distances", done: 0, total: 0 }
    : { stage: STAGES[state] ?? "Fetching the result", done, total, left };

const onProgress = ({ stage, done, total, left }) => {
  const bar = field("progress");
  if (total > 0) bar.value = done / total;
  else bar.removeAttribute("value");
  const counted = total > 0 ? `, ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : "";
  const remaining = left !== null && left !== undefined ? `, about ${seconds(left)} left` : "";
  field("stage").textContent = `${stage}${counted}${remaining}`;
};

const submit = async (event) => {
  event.preventDefault();
  showFault(field("fault"), null);
  controller = new AbortController();
  try {
    const wish = wishes();
    field("go").disabled = true;
    field("work").hidden = false;
    onProgress({ stage: "Sending the images", done: 0, total: 0 });
    const on = { progress: (told) => onProgress(stageOf(told)) };
    const result = await runScore(wish, controller.signal, on);
    history.unshift({ name: `${wish.a.label} against ${wish.b.label}`, result });
    render();
    field("result").scrollIntoView({ block: "nearest" });
  } catch (error) {
    showFault(field("fault"), error);
  } finally {
    field("go").disabled = false;
    field("work").hidden = true;
  }
};

const DISTANCES = [
  ["fid", "FID", "Lower is closer."],
  ["kid", "KID", "Lower is closer; unbiased, so fit for small sets."],
  ["fid_infinity", "FID∞", "FID extrapolated to an unlimited number of images."],
  ["is", "Inception score", "Of the first set alone; higher is clearer and more varied."],
];
const SHARES = ["precision", "recall", "density", "coverage", "authenticity"];

const headline = (title, { value, interval, verdict, reliable }, hint) =>
  el(
    "div",
    { class: "facts" },
    el("h3", {}, title),
    el("p", { class: "big" }, pretty(value)),
    interval && el("p", { class: "soft" }, `95 % interval ${pretty(interval[0])} to ${pretty(interval[1])}`),
    el("p", { class: reliable === false ? "verdict small" : "verdict small soft" }, verdict ?? hint),
  );

const countOf = (side) => (side ? `${side.n?.toLocaleString("en") ?? "an unknown number of"} images` : "none");

/** The service's sentences about files that were no images. */
const leftOut = ({ a, b }) =>
  [a, b].filter((side) => side?.skipped).map(({ skipped }) => el("p", { class: "soft small" }, skipped.why));

const render = () => {
  const room = field("result").clientWidth;
  const width = room < 720 ? room : Math.round((room - 32) * 0.68); // .result has two columns where there is room
  const [{ name, result }] = history;
  const blocks = DISTANCES.filter(([key]) => result[key]).map(([key, title, hint]) => {
    const rows = history.filter((one) => one.result[key]).slice(0, ROWS);
    const plot = distancePlot(
      title,
      rows.map((one) => ({ name: one.name, ...one.result[key] })),
      width,
    );
    return el("section", { class: "result", "aria-label": title }, headline(title, result[key], hint), plot);
  });
  const shares = SHARES.filter((key) => result[key]).map((key) => ({
    name: `${key[0].toUpperCase()}${key.slice(1)}`,
    ...result[key],
  }));
  if (shares.length > 0) {
    const words = "Shares of one set that lie within the other's neighbourhoods; density may pass 1.";
    const facts = el(
      "div",
      { class: "facts" },
      el("h3", {}, "Fidelity and variety"),
      el("p", { class: "soft small verdict" }, words),
    );
    blocks.push(
      el("section", { class: "result", "aria-label": "Fidelity and variety" }, facts, sharePlot(shares, width)),
    );
  }
  const how = `${countOf(result.a)} against ${countOf(result.b)}, protocol ${result.protocol}`;
  const save = () => saveBlob(new Blob([JSON.stringify(result, null, 2)], { type: "application/json" }), "score.json");
  const head = el(
    "div",
    { class: "stage-head" },
    el("div", {}, el("h2", {}, name), el("p", { class: "soft small" }, how), ...leftOut(result)),
    el("button", { class: "button slim", type: "button", onclick: save }, "Save JSON"),
  );
  field("result").replaceChildren(head, ...blocks);
};
