// Before and after: two images in one frame, divided by a slider. The slider is a range input laid over the
// frame, so keyboard, touch and screen readers get it for nothing.

import { inStep, shown } from "./clip.js";
import { el, svg } from "./dom.js";

/** Fills `frame`; `after` null shows the original while the service works, or the preview of what it has made so far.
 *  `video`: both are videos, and play in step. */
export const showCompare = (frame, { before, after, preview, beforeName, afterName, width, height, video = false }) => {
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.width = `min(100%, ${Math.max(width, 560)}px, calc(72vh * ${(width / height).toFixed(4)}))`;
  frame.toggleAttribute("data-busy", after === null);
  const previewed = after === null && preview;
  const original = shown({ src: previewed || before, alt: `Original: ${beforeName}` }, video && !previewed);
  if (after === null) return frame.replaceChildren(original);
  const made = shown({ class: "after", src: after, alt: `Translated: ${afterName}` }, video);
  if (video) inStep(original, made);
  const slider = el("input", {
    type: "range",
    min: 0,
    max: 100,
    step: 0.5,
    value: 50,
    "aria-label": `Divider between ${beforeName} and ${afterName}`,
  });
  const move = () => frame.style.setProperty("--at", `${slider.value}%`);
  slider.addEventListener("input", move);
  move();
  return frame.replaceChildren(
    original,
    made,
    el("span", { class: "edge", "aria-hidden": "true" }, handle()),
    el("span", { class: "tag left" }, beforeName),
    el("span", { class: "tag right" }, afterName),
    slider,
  );
};

const handle = () =>
  svg(
    "svg",
    { viewBox: "-20 -20 40 40", width: 40, height: 40 },
    svg("circle", { r: 19 }),
    svg("path", { d: "M-4 -6 -10 0l6 6M4 -6 10 0l-6 6" }),
  );
