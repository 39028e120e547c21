// Files by drop or paste: whole folders too, which browsers hand over entry by entry.

// HEIC is read where the service has the package for it, which it says where it has not.
const IMAGE = /\.(a?png|jpe?g|jpe|jfif|webp|avifs?|hei[cf]|gif|bmp|tiff?|p[bgnpf]m)$/i;
const NO_ENDING = /^[^.]+$/;

export const isImage = (file) => file.type.startsWith("image/") || IMAGE.test(file.name);

/** Of sets, whose files may be named by a number alone; the service looks into them, and counts what is no image. */
export const mayBeImage = (file) => isImage(file) || NO_ENDING.test(file.name);

const readEntry = (entry) =>
  new Promise((resolve, reject) =>
    entry.isFile ? entry.file((file) => resolve([file]), reject) : readFolder(entry).then(resolve, reject),
  );

/** "a.txt", "a.txt and b.txt", "a.txt and 4 others" */
export const named = ([first, ...more]) => {
  if (more.length === 0) return first.name;
  return `${first.name} and ${more.length === 1 ? more[0].name : `${more.length} others`}`;
};

// What file managers leave in folders, unseen.
const isSeen = ({ name }) => !name.startsWith(".") && name !== "__MACOSX" && name !== "Thumbs.db";

const readFolder = async (folder) => {
  const reader = folder.createReader();
  const files = [];
  for (;;) {
    // One call gives at most 100 entries; an empty answer is the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return files;
    for (const entry of entries.filter(isSeen)) files.push(...(await readEntry(entry)));
  }
};

const filesOf = async (transfer) => {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  return (await Promise.all(entries.map(readEntry))).flat();
};

/** Calls `take(files)` when files are dropped on `surface`. */
export const acceptDrop = (surface, take) => {
  const stop = (event) => {
    event.preventDefault();
    surface.classList.toggle("over", event.type === "dragenter" || event.type === "dragover");
  };
  for (const type of ["dragenter", "dragover", "dragleave"]) surface.addEventListener(type, stop);
  surface.addEventListener("drop", async (event) => {
    stop(event);
    take(await filesOf(event.dataTransfer));
  });
};

/** Calls `take(files)` when images are pasted while `isOpen()`. */
export const acceptPaste = (isOpen, take) =>
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter(isImage);
    if (isOpen() && files.length > 0) take(files);
  });
