/**
 * Makes the emoji data set: node datasets/emoji/make.js FOLDER [--seed 0] [--count 1911] [--held-out 300]
 *
 * FOLDER gets `google2openmoji/` with trainA, trainB, testA and testB, which `python -m training` reads, and
 * `dataset.json`, what all of it was made from. A file is named by its character's code points; testA and testB show the
 * same characters, trainA and trainB different ones. The same flags give the same bytes. A run that was stopped goes on
 * where the pictures end.
 */

import { join } from "node:path";
import { claim, madeBy, main, UsageError, wanted, writeMissing } from "../making.mjs";
import { BACKGROUND, drawGoogle, drawOpenMoji, families, part, SIZE } from "./characters.js";

const PICTURES = "google2openmoji"; // names the data set and both domains, in checkpoints and on cards
const LICENCES = { google: "Apache-2.0", openmoji: "CC-BY-SA-4.0" };

const DRAW = { A: (member) => drawGoogle(member.google), B: (member) => drawOpenMoji(member.openmoji) };

async function make() {
  const all = families();
  const flags = {
    seed: { usual: 0, least: 0, most: 1_000_000 },
    count: { usual: all.length, least: 3, most: all.length },
    "held-out": { usual: 300, least: 1, most: all.length },
  };
  const { folder, seed, count, "held-out": heldOut } = wanted("node datasets/emoji/make.js", flags);
  if (heldOut > count - 2) {
    throw new UsageError(`--held-out ${heldOut} of ${count} characters leaves none to train A or B on.`);
  }
  const about = { seed, count, held_out: heldOut, size: SIZE, background: BACKGROUND, licences: LICENCES };
  const domains = part(all, seed, count, heldOut);
  const folders = Object.keys(domains).map((domain) => join(PICTURES, domain));
  claim(folder, { ...about, made_by: madeBy(import.meta.url) }, folders);
  const pictures = Object.entries(domains).flatMap(([domain, members]) =>
    members.map((member) => [
      join(folder, PICTURES, domain, `${member.sequence}.png`),
      () => DRAW[domain.at(-1)](member),
    ]),
  );
  await writeMissing(pictures, pictures.length);
  const [trainA, trainB, pairs] = Object.values(domains).map((members) => members.length);
  console.log(`${trainA} + ${trainB} characters and ${pairs} pairs at ${SIZE} px lie in ${folder}.`);
}

await main(make);
