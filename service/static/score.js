// Score: two sets in, a job runs, the distances come back with intervals and a plot.

import { getReferences, runScore } from "./api.js";
import { byId, el, pretty, seconds, showFault } from "./dom.js";
import { distancePlot, sharePlot } from "./plot.js";
import { buildSet } from "./sets.js";

const field = (name) => byId(`score-${name}`);
const history = []; // earlier answers of this visit, so that the plot can set them side by side
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
    b: buildSet({ id: "b", title: "Second set", models, references, kind: references.length > 0 ? "reference" : "files" }),
  };
  field("sets").replaceChildren(sides.a.node, sides.b.node);
};

const wishes = () => {
  const metrics = [...field("metrics").querySelectorAll("input:checked")].map(({ value }) => value);
  if (metrics.length === 0) throw new Error("Choose at least one measure.");
  return { a: sides.a.read(), b: sides.b.read(), metrics, protocol: field("protocol").value };
};

const onProgress = ({ stage, done, total, left_s: left }) => {
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
    const result = await runScore(wish, { signal: controller.signal, onProgress });
    history.unshift({ name: `${wish.a.label} against ${wish.b.label}`, result });
    render();
  } catch (error) {
    showFault(field("fault"), error);
  } finally {
    field("go").disabled = false;
    field("work").hidden = true;
  }
};

const fact = (label, value) => (value === null || value === undefined ? null : el("p", { class: "small" }, el("span", { class: "soft" }, `${label}  `), value));

const counts = ({ a, b }) => `${pretty(a, 0)} and ${pretty(b, 0)} images`;

const headline = (name, distance) =>
  el(
    "div",
    { class: "facts" },
    el("h3", {}, name),
    el("p", { class: "big" }, pretty(distance.value)),
    distance.interval && el("p", { class: "soft" }, `95 % interval ${pretty(distance.interval[0])} to ${pretty(distance.interval[1])}`),
    distance.verdict && el("p", { class: "verdict small" }, distance.verdict),
  );

const render = () => {
  const blocks = [];
  const room = field("result").clientWidth;
  const width = room < 720 ? room : Math.round((room - 32) * 0.68); // .result has two columns where there is room
  const [{ name, result }] = history;
  for (const [key, title] of [["fid", "FID"], ["kid", "KID"], ["is", "Inception score"]]) {
    if (!result[key]) continue;
    const rows = history.filter((one) => one.result[key]).slice(0, 6).map((one) => ({ name: one.name, ...one.result[key] }));
    blocks.push(el("section", { class: "result", "aria-label": title }, headline(title, result[key]), distancePlot(title, rows, width)));
  }
  if (result.shares.length > 0) {
    blocks.push(el("section", { class: "result", "aria-label": "Fidelity and variety" }, el("div", { class: "facts" }, el("h3", {}, "Fidelity and variety"), el("p", { class: "soft small verdict" }, "Shares of each set that lie within the other's neighbourhoods; 1 is best.")), sharePlot(result.shares, width)));
  }
  const facts = el("div", { class: "facts" }, el("h2", {}, name), fact("Sets", counts(result.counts)), fact("Protocol", result.protocol), ...result.warnings.map((text) => el("p", { class: "small verdict" }, text)));
  field("result").replaceChildren(facts, ...blocks);
};
