// What a link asks for, held against what is served now: another model would draw other pictures from the same seed.

export const SEED_LIMIT = 2n ** 63n; // past 2^53, whole numbers are BigInt's

/** The seed that these digits are. Throws a sentence. */
export const seedOf = (text) => {
  if (/^\d{1,19}$/.test(text) && BigInt(text) < SEED_LIMIT) return BigInt(text);
  throw new Error(`${text} in this link is no seed: seeds are whole numbers from 0 to 2^63 - 1.`);
};

/** The model of that name or alias. Throws a sentence where there is none. */
export const modelOf = (models, name) => {
  const found = models.find(({ names }) => names.includes(name));
  if (found) return found;
  const there = models.map((one) => one.name).join(", ");
  throw new Error(
    `The model ${name} of this link is not served here. There are: ${there}; each draws its own pictures.`,
  );
};

/** The class's number as a form has it. Throws a sentence where the model has no such class. */
export const classOf = (model, text) => {
  if (text in (model.classes ?? [])) return text;
  const there = model.classes ? `its classes are 0 to ${model.classes.length - 1}` : "it has no classes";
  throw new Error(`The model ${model.name} has no class ${text}: ${there}.`);
};
