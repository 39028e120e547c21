/**
 * Makes the avatar data set: node datasets/avatars/make.js FOLDER [--seed 0] [--count 30000]
 *
 * FOLDER gets `avatars-64/` and `avatars-128/`, with a folder per split and style, which `python -m training` reads;
 * `attributes.jsonl`, a row for each avatar; and `dataset.json`, what all of it was made from. The same seed gives the
 * same bytes. A run that was stopped goes on where the pictures end.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { parseArgs } from "node:util";
import { BACKGROUND, draw, render, STYLES } from "./avatar.js";

const SIZES = [64, 128];
const MOST = 1_000_000; // file names have six digits
const REPORT_EVERY = 1000;
const TURN_EVERY = 100;

/** A mistake of the caller's, told in a sentence. */
class UsageError extends Error {}

function wanted() {
  const options = { seed: { type: "string", default: "0" }, count: { type: "string", default: "30000" } };
  let given;
  try {
    given = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = given;
  if (positionals.length !== 1) {
    throw new UsageError("Name one folder: node datasets/avatars/make.js FOLDER [--seed 0] [--count 30000]");
  }
  return { folder: positionals[0], seed: whole("seed", values.seed, 0), count: whole("count", values.count, 1) };
}

function whole(name, text, least) {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > MOST) {
    throw new UsageError(`--${name} must be a whole number from ${least} to ${MOST}, not "${text}".`);
  }
  return value;
}

/** Writes a file whole or not at all, whoever else writes the same one. */
function write(path, content) {
  const unfinished = `${path}.${process.pid}.tmp`;
  writeFileSync(unfinished, content);
  renameSync(unfinished, path);
}

function picturesOf(folder, size) {
  return join(folder, `avatars-${size}`); // its name is that of the data set in checkpoints and on cards
}

/** Says what the folder is made from; a folder that is made from something else is refused. */
function claim(folder, seed, count) {
  const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
  const about = {
    seed,
    count,
    sizes: SIZES,
    background: BACKGROUND,
    styles: Object.keys(STYLES),
    made_by: dependencies,
  };
  const path = join(folder, "dataset.json");
  const text = `${JSON.stringify(about, null, 2)}\n`;
  if (existsSync(path) && readFileSync(path, "utf8") !== text) {
    throw new UsageError(
      `${folder} holds avatars of another seed, count or version (dataset.json): name another folder.`,
    );
  }
  for (const size of SIZES) {
    for (const split of ["train", "test"]) {
      for (const style of Object.keys(STYLES))
        mkdirSync(join(picturesOf(folder, size), split, style), { recursive: true });
    }
  }
  write(path, text);
}

async function make({ folder, seed, count }) {
  claim(folder, seed, count);
  const rows = [];
  for (let number = 0; number < count; number += 1) {
    const { svg, row } = draw(seed, number);
    for (const size of SIZES) {
      const path = join(picturesOf(folder, size), row.file);
      if (!existsSync(path)) write(path, render(svg, size));
    }
    rows.push(`${JSON.stringify(row)}\n`);
    if ((number + 1) % TURN_EVERY === 0) await turn(); // only then are drawings freed, which lie outside of node's heap
    if ((number + 1) % REPORT_EVERY === 0) console.log(`${number + 1} of ${count} avatars`);
  }
  write(join(folder, "attributes.jsonl"), rows.join(""));
  console.log(`${count} avatars at ${SIZES.join(" and ")} px lie in ${folder}.`);
}

try {
  await make(wanted());
} catch (error) {
  if (!(error instanceof UsageError) && error.syscall === undefined) throw error;
  const sentence = `The data set cannot be written: ${error.message.replace(/^[A-Z]+: /, "")}.`;
  console.error(error instanceof UsageError ? error.message : sentence);
  process.exitCode = 2;
}
