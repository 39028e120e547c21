/**
 * Makes the avatar data set: node datasets/avatars/make.js FOLDER [--seed 0] [--count 30000]
 *
 * FOLDER gets `avatars-64/` and `avatars-128/`, with a folder per split and style, which `python -m training` reads;
 * `attributes.jsonl`, a row for each avatar; and `dataset.json`, what all of it was made from. The same seed gives the
 * same bytes. A run that was stopped goes on where the pictures end.
 */

import { join } from "node:path";
import { claim, madeBy, main, wanted, write, writeMissing } from "../making.mjs";
import { BACKGROUND, draw, render, STYLES } from "./avatar.js";

const SIZES = [64, 128];
const MOST = 1_000_000; // file names have six digits

function picturesOf(size) {
  return `avatars-${size}`; // its name is that of the data set in checkpoints and on cards
}

async function make() {
  const { folder, seed, count } = wanted("node datasets/avatars/make.js", {
    seed: { usual: 0, least: 0, most: MOST },
    count: { usual: 30_000, least: 1, most: MOST },
  });
  const styles = Object.keys(STYLES);
  const about = { seed, count, sizes: SIZES, background: BACKGROUND, styles, made_by: madeBy(import.meta.url) };
  const splits = SIZES.flatMap((size) => ["train", "test"].map((split) => join(picturesOf(size), split)));
  const folders = splits.flatMap((split) => styles.map((style) => join(split, style)));
  claim(folder, about, folders);
  const rows = [];
  function* pictures() {
    for (let number = 0; number < count; number += 1) {
      const { svg, row } = draw(seed, number);
      rows.push(`${JSON.stringify(row)}\n`);
      for (const size of SIZES) yield [join(folder, picturesOf(size), row.file), () => render(svg, size)];
    }
  }
  await writeMissing(pictures(), count * SIZES.length);
  write(join(folder, "attributes.jsonl"), rows.join(""));
  console.log(`${count} avatars at ${SIZES.join(" and ")} px lie in ${folder}.`);
}

await main(make);
