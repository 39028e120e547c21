// A photo as it is sent: whole, or made smaller where the service would refuse its size.

/** {file, size, whole}: `size` of what is sent; `whole` is the photo's own size where that has more than `most` pixels,
 *  else null. Throws where the browser cannot read the photo. */
export const fit = async (file, url, most) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const whole = { width: image.naturalWidth, height: image.naturalHeight }; // upright, as the browser shows it
  const scale = Math.sqrt(most / (whole.width * whole.height));
  if (scale >= 1) return { file, size: whole, whole: null };
  const size = { width: shorter(whole.width, scale), height: shorter(whole.height, scale) };
  return { file: await draw(image, size, file), size, whole };
};

const shorter = (side, scale) => Math.max(1, Math.floor(side * scale));

const draw = async (image, { width, height }, { name, type }) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const ink = canvas.getContext("2d");
  ink.imageSmoothingQuality = "high";
  ink.drawImage(image, 0, 0, width, height);
  const kind = type === "image/jpeg" ? type : "image/png"; // others may hold transparency
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, kind, 0.95));
  return new File([blob], name, { type: kind });
};
