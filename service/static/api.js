// The service's HTTP API, and the only file here that knows its addresses and shapes.
// Everything raised is an ApiError with the service's own sentence.

import { blobFromBase64 } from "./dom.js";
import { eventsOf } from "./events.js";
import { SEED_LIMIT } from "./link.js";

const RETRY_MS = 1000; // before a stream that broke is taken up again

export class ApiError extends Error {
  constructor(message, status = 0, where = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.where = where;
  }
}

let key = null;
try {
  key = sessionStorage.getItem("api-key");
} catch {
  // Storage may be closed: the key then lives as long as the page.
}

export const setKey = (value) => {
  key = value;
  try {
    sessionStorage.setItem("api-key", value);
  } catch {
    // As above.
  }
};

/** JSON with whole numbers of any size: a BigInt is written as its digits. */
const toJson = (body) =>
  JSON.stringify(body, (_, value) => (typeof value === "bigint" ? `\0${value}` : value)).replace(
    /"\\u0000(\d+)"/g,
    "$1",
  );

/** fetch, with the key, and with errors as sentences. Addresses are relative: the page may live under a prefix. */
const call = async (path, { method = "GET", json, form, accept = "application/json", signal, headers = {} } = {}) => {
  const sent = { Accept: accept, ...headers };
  if (key) sent.Authorization = `Bearer ${key}`;
  if (json) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers: sent, body: json ? toJson(json) : form, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service cannot be reached. Check that it is running, then try again.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  if (response.status === 401) dispatchEvent(new Event("gan:key-needed"));
  const wait = response.headers.get("Retry-After");
  const sentence = body?.error?.message ?? `The service answered ${response.status}.`;
  throw new ApiError(wait ? `${sentence} Try again in ${wait} s.` : sentence, response.status, body?.error?.where);
};

export const isReady = () =>
  fetch("readyz").then(
    ({ ok }) => ok,
    () => false,
  );

/** [{name, names, label, sampler, encoder, spaces, steps: [{name, kept}], translator, attends, mostPixels, classes, domains, size, digest}]; `classes` null for none. */
export const getModels = async () => {
  const { models, translate_pixels, job_translate_pixels } = await (await call("v1/models")).json();
  return models.map((card) => {
    // The bare name follows the version in service; other versions go by their id.
    const name = card.names.includes(card.name) ? card.name : card.id;
    return {
      name,
      names: card.names,
      label: name,
      sampler: card.can.includes("sample"),
      encoder: card.encoder,
      spaces: card.spaces,
      steps: card.latent_directions,
      translator: card.can.includes("translate"),
      attends: card.attention,
      mostAtOnce: translate_pixels,
      mostPixels: job_translate_pixels,
      classes: card.classes.length > 0 ? card.classes : null,
      domains: card.domains,
      directions: card.directions,
      size: card.image_size,
      digest: card.digest,
    };
  });
};

/** Class numbers of n images: the one that was chosen, or all in turn; none for models without classes. */
const classesOf = ({ model, classIndex, n }) =>
  model.classes && Array.from({ length: n }, (_, index) => classIndex ?? index % model.classes.length);

const sampleBody = (wish, output) => {
  const { model, n, seed, truncation } = wish;
  const body = { model: model.name, n, seed, output, format: "png" };
  if (truncation !== null) body.truncation = truncation;
  const classes = classesOf(wish);
  if (classes) body.class = classes;
  return body;
};

/** {images: Blob[], seeds, classes, labels, digest} */
export const drawSamples = async (wish, signal) => {
  const response = await call("v1/sample", { method: "POST", json: sampleBody(wish, "json"), signal });
  const { images, digest } = await response.json();
  const classes = classesOf(wish);
  return {
    images: images.map(({ data, format }) => blobFromBase64(data, `image/${format}`)),
    seeds: images.map((_, index) => (wish.seed + BigInt(index)) % SEED_LIMIT), // the answer's lose digits as numbers
    digest,
    classes,
    labels: classes?.map((index) => wish.model.classes[index]),
  };
};

export const sampleZip = async (wish) =>
  (await call("v1/sample", { method: "POST", json: sampleBody(wish, "zip"), accept: "application/zip" })).blob();

const walkBody = ({ model, seeds, classes, truncation }) => {
  const body = { model: model.name, seeds };
  if (classes) body.classes = classes;
  if (truncation) body.truncation = truncation;
  return body;
};

/** One PNG of side x side frames, edge to edge, between four corner seeds. */
export const latentMap = async (wish, side, signal) => {
  const body = { ...walkBody(wish), shape: "map", steps: side, output: "strip", format: "png" };
  return (await call("v1/interpolate", { method: "POST", json: body, accept: "image/png", signal })).blob();
};

/** An endless animation from seed to seed; `format` is webp, gif or apng. */
export const animate = async (wish, format) => {
  const body = { ...walkBody(wish), steps: 24, loop: true, frame_ms: 50, output: format };
  return (await call("v1/interpolate", { method: "POST", json: body, accept: `image/${format}` })).blob();
};

/** {blob, mask, loss}: the translated photo or, without a `format`, a clip in its own; its mask, where `mask` asks for it
 *  of a model that attends; and the round trip's L1, where it was asked for; else null. `strength` goes from 0 to 1, of
 *  models that attend. `long` makes it a job, which takes the time it needs, and tells `on` of it (as in finishJob); a
 *  request has a deadline. */
export const translateImage = async (wish, signal, on) => {
  const { model, direction, format, cycle, strength, mask, file, long } = wish;
  const form = new FormData();
  form.append("images", file, file.name);
  const answer = mask ? { output: "json", mask } : { output: "image" };
  const fields = { model: model.name, direction, format, cycle, strength: model.attends ? strength : null, ...answer };
  for (const [name, value] of Object.entries(fields)) if (value !== null) form.append(name, value);
  const response = long
    ? await finishJob(await submitJob("translate", form, signal), signal, on)
    : await call("v1/translate", { method: "POST", form, accept: "*/*", signal });
  const told = response.headers.get("X-Cycle-L1");
  const loss = told === null ? null : Number(told);
  if (!mask) return { blob: await response.blob(), mask: null, loss };
  const [one] = (await response.json()).images;
  return { blob: blobFromBase64(one.data, `image/${format}`), mask: blobFromBase64(one.mask, "image/png"), loss };
};

/** One picture, as a PNG, of what place.js's `between` gives, with `directions` and a `class`. */
export const drawPlace = async (model, wish, signal) => {
  const body = { model: model.name, ...wish, output: "image", format: "png" };
  return (await call("v1/sample", { method: "POST", json: body, accept: "image/png", signal })).blob();
};

/** {latent, space, class, l1, perceptual} of a photo: at once by an encoder, else by a job that searches. */
export const encodePhoto = async ({ model, file }, { signal, onProgress }) => {
  const form = new FormData();
  form.append("images", file, file.name);
  form.append("model", model.name);
  form.append("output", "json");
  const response = model.encoder
    ? await call("v1/encode", { method: "POST", form, signal })
    : await finishJob(await submitJob("encode", form, signal), signal, onProgress);
  const { photos, space } = await response.json();
  return { ...photos[0], space };
};

export const getReferences = async () =>
  (await (await call("v1/references")).json()).references.map(({ name }) => name);

const sideOf = (form, id, side) => {
  if (side.kind === "files") for (const file of side.files) form.append(id, file, file.name);
  if (side.kind === "reference") form.append(`${id}_reference`, side.name);
  if (side.kind === "model") {
    form.append(`${id}_model`, side.model);
    form.append(`${id}_n`, side.n);
    form.append(`${id}_seed`, side.seed);
  }
};

/** The answer of /v1/score, by a job, which tells `on` of it (as in finishJob). */
export const runScore = async ({ a, b, metrics, protocol }, signal, on) => {
  const form = new FormData();
  sideOf(form, "a", a);
  sideOf(form, "b", b);
  form.append("metrics", metrics.join(","));
  form.append("protocol", protocol);
  const id = await submitJob("score", form, signal);
  return (await finishJob(id, signal, on)).json();
};

/** The job's id. The key makes a second try after a lost answer find the first job. */
const submitJob = async (name, form, signal) => {
  const ident = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const response = await call(`v1/jobs/${name}`, {
    method: "POST",
    form,
    signal,
    headers: { "Idempotency-Key": ident },
  });
  return (await response.json()).id;
};

/** The job's result, once it is over. `on.progress({state, done, total, left})` and `on.preview(blob)` tell of it before. */
const finishJob = async (id, signal, on) => {
  try {
    const { state, note } = await followJob(id, signal, on);
    if (state === "interrupted" || state === "cancelled") throw new ApiError(note ?? "The job was cancelled.");
    return await call(`v1/jobs/${id}/result`, { signal, accept: "*/*" });
  } catch (error) {
    // Without this it ends by itself, later.
    if (error.name === "AbortError") call(`v1/jobs/${id}`, { method: "DELETE" }).catch(() => {});
    throw error;
  }
};

/** The job at its end. A stream that breaks is taken up where it broke. */
const followJob = async (id, signal, { progress = () => {}, preview = () => {} }) => {
  let last = null;
  for (;;) {
    const headers = last === null ? {} : { "Last-Event-ID": last };
    const response = await call(`v1/jobs/${id}/events`, { accept: "text/event-stream", headers, signal });
    try {
      for await (const { name, data, id: place } of eventsOf(response)) {
        last = place ?? last;
        if (name === "end") return data;
        if (name === "state") progress({ state: data.state, ...numbersOf(data.progress) });
        if (name === "progress") progress({ state: "running", ...numbersOf(data) });
        if (name === "preview") preview(blobFromBase64(data.data, data.media_type));
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error.name !== "TypeError") throw error; // a broken connection is one; where the service is gone, call says so
    }
    await pause(RETRY_MS, signal);
  }
};

const numbersOf = ({ done, total, seconds_left }) => ({ done, total, left: seconds_left });

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", stop, { once: true });
  });
