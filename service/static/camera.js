// The camera, translated live: frames go up as fast as answers come, two on their way at most.

import { translateImage } from "./api.js";
import { byId, showFault } from "./dom.js";

const MOST_ON_THEIR_WAY = 2;
const COUNTED_MS = 3000; // of answers, for the frames a second
const FEWEST = 4; // of them, for a figure that means something
const BUSY_MS = 1000; // before the next frame goes to a service that has too much to do

const field = (name) => byId(`camera-${name}`);

const SENTENCES = {
  NotAllowedError: "The browser does not let this page use the camera: allow it beside the address, then start again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "The camera is being used by another program.",
};

let wish = null; // () => ({model, direction})
let live = null; // {stop: AbortController, stream, video, sent, drawn, onTheirWay, answers: times}

/** `wanted()` gives the model and the direction at that moment; `open(isOpen)` makes room for the camera, or takes it. */
export const startCamera = (wanted, open) => {
  wish = wanted;
  byId("translate-live").addEventListener("click", () => {
    open(true);
    field("panel").hidden = false;
    begin();
  });
  field("close").addEventListener("click", () => {
    closeCamera();
    open(false);
  });
  field("again").addEventListener("click", begin);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) end("Stopped, since the page was out of sight.");
  });
  addEventListener("hashchange", () => end("Stopped, since another view was opened."));
};

/** Ends it, and leaves its place to something else. */
export const closeCamera = () => {
  end();
  field("panel").hidden = true;
};

const begin = async () => {
  end();
  showFault(field("fault"), null);
  field("note").textContent = "Waiting for the camera";
  const mine = { stop: new AbortController(), sent: 0, drawn: 0, onTheirWay: 0, answers: [] };
  live = mine;
  field("again").hidden = true;
  try {
    mine.stream = await cameraStream();
    if (live !== mine) return close(mine); // it was ended meanwhile
    mine.video = document.createElement("video");
    Object.assign(mine.video, { srcObject: mine.stream, muted: true, playsInline: true });
    await mine.video.play();
    mine.stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (live === mine) fail(new Error("The camera was unplugged, or taken away."));
    });
    for (let count = 0; count < MOST_ON_THEIR_WAY; count++) goOn(mine);
  } catch (error) {
    if (live === mine) fail(error);
  }
};

const cameraStream = async () => {
  if (!navigator.mediaDevices?.getUserMedia)
    throw new Error("Browsers give a camera to pages from https:// or localhost alone.");
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    throw new Error(SENTENCES[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
};

const end = (note = "") => {
  if (live === null) return;
  close(live);
  live = null;
  field("note").textContent = note;
  field("again").hidden = false;
};

const close = ({ stop, stream, video }) => {
  stop.abort();
  for (const track of stream?.getTracks() ?? []) track.stop();
  if (video) video.srcObject = null;
};

const fail = (error) => {
  end();
  showFault(field("fault"), error);
};

/** One of the two that are on their way: frame after frame, until the camera is ended. */
const goOn = async (mine) => {
  while (live === mine) {
    const frame = square(mine.video, Number(field("size").value));
    const number = ++mine.sent;
    try {
      const blob = await new Promise((resolve) => frame.toBlob(resolve, "image/jpeg", 0.9));
      const file = new File([blob], "frame.jpg", { type: "image/jpeg" });
      const answer = await translateImage({ ...wish(), format: "jpeg", cycle: false, file }, mine.stop.signal);
      const made = await createImageBitmap(answer.blob);
      if (live !== mine) return;
      if (number > mine.drawn) show(mine, number, frame, made);
    } catch (error) {
      if (live !== mine || error.name === "AbortError") return;
      if (error.status !== 503 && error.status !== 429) return fail(error);
      field("note").textContent = "The service has much to do";
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
    }
  }
};

/** The largest square in the middle of what the camera sees. */
const square = (video, size) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [size, size];
  const side = Math.min(video.videoWidth, video.videoHeight);
  const [left, top] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
  canvas.getContext("2d").drawImage(video, left, top, side, side, 0, 0, size, size);
  return canvas;
};

/** A frame beside its translation: both of one moment, the last one that was answered. */
const show = (mine, number, frame, made) => {
  mine.drawn = number;
  for (const [name, picture] of [
    ["before", frame],
    ["after", made],
  ]) {
    const canvas = field(name);
    if (canvas.width !== picture.width) [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }
  made.close();
  const now = performance.now();
  mine.answers.push(now);
  while (mine.answers.length > FEWEST && now - mine.answers[0] > COUNTED_MS) mine.answers.shift();
  const pace = ((mine.answers.length - 1) / (now - mine.answers[0])) * 1000;
  field("note").textContent = mine.answers.length < FEWEST ? "The first frames" : `${pace.toFixed(1)} frames/s`;
};
