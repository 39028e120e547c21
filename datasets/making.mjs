/** What the commands that make data sets share: their flags, their folders, and pictures that are written once. */

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { parseArgs } from "node:util";

const REPORT_EVERY = 1000;
const TURN_EVERY = 100;

/** A mistake of the caller's, told in a sentence. */
export class UsageError extends Error {}

/**
 * Reads the command line: one folder, and whole numbers as flags.
 *
 * @param {string} command what is typed, for the sentence that asks for a folder
 * @param {object} flags for each flag `{ usual, least, most }`, its value where it is not given and its bounds
 * @returns {object} `folder`, and a number for each flag
 * @throws {UsageError} no folder or several, an unknown flag, a value that is no whole number within the bounds
 */
export function wanted(command, flags) {
  const names = Object.keys(flags);
  const options = Object.fromEntries(names.map((name) => [name, { type: "string", default: `${flags[name].usual}` }]));
  let given;
  try {
    given = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error.message);
  }
  const { values, positionals } = given;
  if (positionals.length !== 1) {
    const usage = names.map((name) => `[--${name} ${flags[name].usual}]`).join(" ");
    throw new UsageError(`Name one folder: ${command} FOLDER ${usage}`);
  }
  const numbers = names.map((name) => [name, whole(name, values[name], flags[name])]);
  return { folder: positionals[0], ...Object.fromEntries(numbers) };
}

function whole(name, text, { least, most }) {
  const value = Number(text);
  if (!/^(0|[1-9]\d*)$/.test(text) || value < least || value > most) {
    throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, not "${text}".`);
  }
  return value;
}

/**
 * Makes the folders of a data set, and says in `dataset.json` what it is made from.
 *
 * @param {string} folder of the data set
 * @param {object} about the content of `dataset.json`
 * @param {string[]} inside the folders below it
 * @throws {UsageError} the folder is made from something else
 */
export function claim(folder, about, inside) {
  const path = join(folder, "dataset.json");
  const text = `${JSON.stringify(about, null, 2)}\n`;
  if (existsSync(path) && readFileSync(path, "utf8") !== text) {
    throw new UsageError(`${folder} holds pictures of other flags or versions (dataset.json): name another folder.`);
  }
  for (const name of inside) mkdirSync(join(folder, name), { recursive: true });
  write(path, text);
}

/** Writes a file whole or not at all, whoever else writes the same one. */
export function write(path, content) {
  const unfinished = `${path}.${process.pid}.tmp`;
  writeFileSync(unfinished, content);
  renameSync(unfinished, path);
}

/**
 * Writes the pictures that are not there yet, so that a run that was stopped goes on where they end.
 *
 * @param {Iterable<[string, () => Buffer]>} pictures a path, and what draws the file's content
 * @param {number} count of them, for the reports
 */
export async function writeMissing(pictures, count) {
  let number = 0;
  for (const [path, draw] of pictures) {
    if (!existsSync(path)) write(path, draw());
    number += 1;
    if (number % TURN_EVERY === 0) await turn(); // only then are drawings freed, which lie outside of node's heap
    if (number % REPORT_EVERY === 0) console.log(`${number} of ${count} pictures`);
  }
}

/** The exact versions of the packages that draw, as the package.json beside a module pins them. */
export function madeBy(module) {
  return JSON.parse(readFileSync(new URL("package.json", module), "utf8")).dependencies;
}

/** Runs a command; a mistake of the caller's, or a file system that refuses, is a sentence and status 2. */
export async function main(make) {
  try {
    await make();
  } catch (error) {
    if (!(error instanceof UsageError) && error.syscall === undefined) throw error;
    const sentence = `The data set cannot be written: ${error.message.replace(/^[A-Z]+: /, "")}.`;
    console.error(error instanceof UsageError ? error.message : sentence);
    process.exitCode = 2;
  }
}
