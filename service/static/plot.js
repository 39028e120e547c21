// Plots as SVG, drawn at the width they are shown at, so that text keeps its size: values with their intervals on
// one axis, and shares as bars.

import { pretty, svg } from "./dom.js";

const GUTTER = 18;

/** Ends of an axis on round numbers, and its ticks. */
export const niceAxis = (low, high, count = 5) => {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const from = Math.floor(low / step) * step;
  const ticks = [];
  for (let index = 0; from + index * step < high + step * 0.999; index += 1) ticks.push(from + index * step);
  return { from, to: ticks.at(-1), ticks, step };
};

const label = (value, step) =>
  value.toFixed(
    Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + (step % 1 && String(step).includes("25") ? 1 : 0))),
  );

/** One row for each answer, the newest first: a dot, and a whisker over its interval. */
export const distancePlot = (title, rows, width) => {
  const ends = rows.flatMap(({ value, interval, floor }) => [value, ...(interval ?? []), floor?.value ?? value]);
  const axis = niceAxis(Math.min(0, ...ends), Math.max(...ends), width < 480 ? 3 : 6);
  const scale = (value) => GUTTER + ((value - axis.from) / (axis.to - axis.from)) * (width - 2 * GUTTER);
  const rowHeight = 52;
  const height = rows.length * rowHeight + 28;
  const floor = height - 24;
  const grid = axis.ticks.flatMap((tick) => [
    svg("line", { class: "rule", x1: scale(tick), x2: scale(tick), y1: 0, y2: floor }),
    svg("text", { x: scale(tick), y: height - 6, "text-anchor": "middle" }, label(tick, axis.step)),
  ]);
  const marks = rows.map(({ name, value, interval, floor: best }, index) => {
    const y = index * rowHeight + 34;
    const whisker =
      interval && svg("line", { class: "whisker", x1: scale(interval[0]), x2: scale(interval[1]), y1: y, y2: y });
    return svg(
      "g",
      { class: index === 0 ? "new" : "old" },
      svg("text", { class: "name", x: GUTTER + 8, y: y - 16 }, index === 0 ? "This score" : name),
      best && floorMark(scale(best.value), y, best),
      whisker,
      svg("circle", { class: "dot", cx: scale(value), cy: y, r: 6 }),
    );
  });
  const spoken = rows.map(({ name, value }) => `${name}: ${pretty(value)}`).join("; ");
  return svg(
    "svg",
    { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}. ${spoken}` },
    ...grid,
    ...marks,
  );
};

/** What real images would score at this count: nothing can be told below it. */
const floorMark = (x, y, { value, n }) =>
  svg(
    "g",
    { class: "floor" },
    svg("title", {}, `Real images score ${pretty(value)} at ${n} images: no generator can do better here.`),
    svg("line", { x1: x, x2: x, y1: y - 9, y2: y + 9 }),
    svg("text", { x: x + 6, y: y + 4 }, "real images"),
  );

/** Bars from 0 to 1 (density may pass 1: the axis grows with it). */
export const sharePlot = (shares, width) => {
  const top = Math.max(1, ...shares.map(({ value }) => value));
  const rowHeight = 44;
  const full = width;
  const rows = shares.flatMap(({ name, value }, index) => {
    const y = index * rowHeight;
    return [
      svg("text", { class: "name", x: 0, y: y + 14 }, name),
      svg("text", { x: width, y: y + 14, "text-anchor": "end" }, pretty(value)),
      svg("rect", { class: "bar-back", x: 0, y: y + 22, width: full, height: 8, rx: 4 }),
      svg("rect", { class: "bar-fill", x: 0, y: y + 22, width: (full * Math.max(0, value)) / top, height: 8, rx: 4 }),
    ];
  });
  const spoken = shares.map(({ name, value }) => `${name}: ${pretty(value)}`).join("; ");
  return svg(
    "svg",
    { class: "plot", viewBox: `0 0 ${width} ${shares.length * rowHeight}`, role: "img", "aria-label": spoken },
    ...rows,
  );
};
