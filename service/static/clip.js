// Clips: which files move, and how large they are. What moves is shown as pictures are, by the browser.

import { el } from "./dom.js";

const VIDEO = /\.(mp4|m4v|webm)$/i;

export const isVideo = (file) => file.type.startsWith("video/") || VIDEO.test(file.name);

/** Whether a file moves, by its kind or what a picture says of itself: a GIF has a block before each frame that tells how
 *  long it is shown, a WebP a flag, an APNG a chunk before its pixels. */
export const isClip = async (file) => {
  if (isVideo(file)) return true;
  const text = new TextDecoder("latin1").decode(await file.arrayBuffer());
  if (text.startsWith("GIF8")) return text.split("\x21\xf9\x04").length > 2;
  if (text.startsWith("WEBPVP8X", 8)) return (text.charCodeAt(20) & 2) > 0;
  return text.startsWith("PNG", 1) && text.slice(0, text.indexOf("IDAT")).includes("acTL");
};

/** {width, height} of a clip at an address, upright as the browser shows it. Throws where it cannot. */
export const sizeOf = async (file, url) => {
  if (!isVideo(file)) {
    const image = new Image();
    image.src = url;
    await image.decode();
    return { width: image.naturalWidth, height: image.naturalHeight };
  }
  const video = el("video", { src: url, muted: true, preload: "metadata" });
  await new Promise((resolve, reject) => {
    video.onloadedmetadata = resolve;
    video.onerror = () => reject(new Error(`${file.name} cannot be played here.`));
  });
  return { width: video.videoWidth, height: video.videoHeight };
};

/** An element that shows what is at an address: a picture, or a video that plays without end and makes no sound. */
export const shown = (attributes, video) => {
  if (!video) return el("img", attributes);
  const { alt, ...others } = attributes;
  const film = el("video", { ...others, "aria-label": alt, autoplay: true, loop: true, playsinline: true });
  film.muted = true; // the attribute alone says it too late for a browser that plays nothing aloud by itself
  return film;
};

/** Two videos of one length go on in step. */
export const inStep = (one, other) => {
  const follow = () => {
    if (Math.abs(one.currentTime - other.currentTime) > 0.1) other.currentTime = one.currentTime;
  };
  one.addEventListener("timeupdate", follow);
  other.addEventListener("loadeddata", follow);
};
