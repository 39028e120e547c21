// Where a picture has its place: a seed, or a latent that was found for a photo. Written into links as text.

import { seedOf } from "./link.js";

/** {seed: BigInt} or {latent: number[], space} as "seed:7" or "w:BASE64", float32 in the machine's order. */
export const writePlace = ({ seed, latent, space }) => {
  if (latent === undefined) return `seed:${seed}`;
  const bytes = new Uint8Array(Float32Array.from(latent).buffer);
  return `${space}:${btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")}`;
};

/** The same back. Throws a sentence for text that is no place in the model. */
export const readPlace = (text, model) => {
  const [kind, rest = ""] = text.split(":");
  if (kind === "seed") return { seed: seedOf(rest) };
  try {
    const bytes = Uint8Array.from(atob(rest.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const latent = [...new Float32Array(bytes.buffer)];
    if (model.spaces.includes(kind) && latent.length > 0 && latent.every(Number.isFinite))
      return { latent, space: kind };
  } catch {
    // No base64, or not whole numbers of four bytes.
  }
  throw new Error("The link holds no place in this model: part of it may be missing.");
};

/** What draws the picture at `at`, 0 to 1, of the way from one place to another; of the one alone without another. */
export const between = (model, one, other, at) => {
  if (other === null) return one.seed === undefined ? { latents: [one.latent], space: one.space } : { seed: one.seed };
  const term = ({ seed, latent }, weight) => (latent === undefined ? { seed, weight } : { latent, weight });
  const space = model.spaces.at(-1);
  // Two normal latents are as good as at right angles, and their arc keeps their length; codes go straight.
  const weights = space === "z" ? [Math.cos((at * Math.PI) / 2), Math.sin((at * Math.PI) / 2)] : [1 - at, at];
  return { combine: [term(one, weights[0]), term(other, weights[1])], space };
};

/** {"sefa-1": 2} as "sefa-1:2", and back; what is no number is left out. */
export const writeSteps = (steps) =>
  Object.entries(steps)
    .map(([name, amount]) => `${name}:${amount}`)
    .join(",");

export const readSteps = (text) =>
  Object.fromEntries(
    text
      .split(",")
      .map((part) => part.split(":"))
      .filter(([name, amount]) => name && Number.isFinite(Number(amount)))
      .map(([name, amount]) => [name, Number(amount)]),
  );
