/**
 * One avatar: what number n of a seed looks like, as an SVG document and as pixels.
 *
 * The drawings are those of DiceBear's styles whose designs are in the public domain (CC0 1.0, each package's LICENSE).
 */

import { createAvatar } from "@dicebear/core";
import * as lorelei from "@dicebear/lorelei";
import * as notionists from "@dicebear/notionists";
import * as openPeeps from "@dicebear/open-peeps";
import * as pixelArt from "@dicebear/pixel-art";
import { Resvg } from "@resvg/resvg-js";

/** The classes, and the packages that draw them. */
export const STYLES = { lorelei, notionists, "open-peeps": openPeeps, "pixel-art": pixelArt };

/** What lies behind every avatar, of one flat colour. */
export const BACKGROUND = "#b6e3f4";

const CLASSES = Object.keys(STYLES);
const TEST_EVERY = 6; // of six avatars of a style, five are to learn from
const EYEPATCH = "eyepatch"; // the one accessory of open-peeps that is no pair of glasses

/**
 * Draws an avatar; it depends on the seed and its number alone.
 *
 * @param {number} seed of the data set
 * @param {number} number from 0; styles take turns
 * @returns {{ svg: string, row: object }} the drawing, and its row of the table: `file` under a size's folder, `split`,
 *   `style`, `wears_glasses`, and by the style's own names the parts and colours (#rrggbb) that were drawn
 */
export function draw(seed, number) {
  const style = CLASSES[number % CLASSES.length];
  const split = Math.floor(number / CLASSES.length) % TEST_EVERY === TEST_EVERY - 1 ? "test" : "train";
  const options = { seed: `${seed}-${number}`, backgroundColor: [BACKGROUND.slice(1)] };
  const { svg, extra } = createAvatar(STYLES[style], options).toJson();
  const drawn = Object.entries(extra).filter(([name, value]) => value !== undefined && !/background/i.test(name));
  const parts = Object.fromEntries(drawn);
  const glasses = style === "open-peeps" ? (parts.accessories ?? EYEPATCH) !== EYEPATCH : "glasses" in parts;
  const file = `${split}/${style}/${String(number).padStart(6, "0")}.png`;
  return { svg, row: { file, split, style, wears_glasses: glasses, ...parts } };
}

/**
 * @param {string} svg a square drawing
 * @param {number} size side in pixels
 * @returns {Buffer} a PNG of size x size
 */
export function render(svg, size) {
  return new Resvg(svg, { fitTo: { mode: "width", value: size }, font: { loadSystemFonts: false } }).render().asPng();
}
