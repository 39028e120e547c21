/**
 * The characters that Google and OpenMoji both draw, how they are parted, and their pictures.
 *
 * Google's drawings are Noto Emoji, under the Apache License 2.0 (README.md of emoji-datasource-google, whose own code
 * and tables are under the MIT licence); OpenMoji's are under CC BY-SA 4.0 (its LICENSE.txt).
 */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { basename, extname } from "node:path";
import { Resvg } from "@resvg/resvg-js";

/** Side of the pictures in pixels. Google's are given out at 64, so that neither style is scaled from other pixels. */
export const SIZE = 64;

/** What lies behind every character, in both styles: neither draws on a ground of its own. */
export const BACKGROUND = "#ffffff";

const GOOGLE = new URL("node_modules/emoji-datasource-google/", import.meta.url);
const OPENMOJI = new URL("node_modules/openmoji/color/svg/", import.meta.url);
const MARGIN = 4; // units of OpenMoji's 72 that it leaves free on each side: what lies within has one pixel for a unit
const VARIATION_SELECTOR = "fe0f"; // asks for a picture in place of a letter; the sets differ in where they write it

/** A sequence of code points as both sets can be asked for it: 1F590-FE0F.svg -> 1f590. */
function sequenceOf(name) {
  const points = basename(name, extname(name)).toLowerCase().split("-");
  return points.filter((point) => point !== VARIATION_SELECTOR).join("-");
}

/**
 * The characters, each with its skin tones.
 *
 * @returns {object[][]} families of `{ sequence, google, openmoji }`: code points and each set's file
 */
export function families() {
  const openmoji = new Map(readdirSync(OPENMOJI).map((name) => [sequenceOf(name), new URL(name, OPENMOJI)]));
  const table = JSON.parse(readFileSync(new URL("emoji.json", GOOGLE), "utf8"));
  const found = table.map((character) =>
    [character, ...Object.values(character.skin_variations ?? {})]
      .filter(({ has_img_google, image }) => has_img_google && openmoji.has(sequenceOf(image)))
      .map(({ image }) => ({
        sequence: sequenceOf(image),
        google: new URL(`img/google/${SIZE}/${image}`, GOOGLE),
        openmoji: openmoji.get(sequenceOf(image)),
      })),
  );
  return found.filter((family) => family.length > 0);
}

/**
 * Parts characters into those held out and those to learn from. No family is in two parts: a tone of a held-out hand
 * would give the hand away, and what is in trainA is not in trainB, so that no pair can be learned.
 *
 * @param {object[][]} all families
 * @param {number} seed of the order that they are taken in
 * @param {number} count of families to take
 * @param {number} heldOut of them; one member of each, drawn by the seed, is enough
 * @returns {object} `trainA`, `trainB`, `testA` and `testB`: members; the last two are the same
 */
export function part(all, seed, count, heldOut) {
  const taken = drawn(all, seed, (family) => family[0].sequence).slice(0, count);
  const test = taken.slice(0, heldOut).map((family) => drawn(family, seed, (member) => member.sequence)[0]);
  const [trainA, trainB] = [0, 1].map((half) => taken.slice(heldOut).filter((_, index) => index % 2 === half));
  return { trainA: trainA.flat(), trainB: trainB.flat(), testA: test, testB: test };
}

/** In an order that a seed decides, the same with every version of node. */
function drawn(things, seed, name) {
  const place = (thing) =>
    createHash("sha256")
      .update(`${seed} ${name(thing)}`)
      .digest("hex");
  const placed = things.map((thing) => [place(thing), thing]);
  return placed.sort(([one], [other]) => (one < other ? -1 : 1)).map(([, thing]) => thing);
}

/**
 * @param {URL} file a PNG of SIZE x SIZE
 * @returns {Buffer} the same pixels on the background, a PNG
 */
export function drawGoogle(file) {
  const data = readFileSync(file).toString("base64");
  const image = `<image width="${SIZE}" height="${SIZE}" href="data:image/png;base64,${data}"/>`;
  return render(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE} ${SIZE}">${image}</svg>`);
}

/**
 * @param {URL} file an SVG of 72 x 72 units
 * @returns {Buffer} what lies within the margin, on the background, a PNG of SIZE x SIZE
 */
export function drawOpenMoji(file) {
  const inner = `${MARGIN} ${MARGIN} ${SIZE} ${SIZE}`;
  return render(readFileSync(file, "utf8").replace('viewBox="0 0 72 72"', `viewBox="${inner}"`));
}

function render(svg) {
  const options = { fitTo: { mode: "width", value: SIZE }, background: BACKGROUND, font: { loadSystemFonts: false } };
  return new Resvg(svg, options).render().asPng();
}
