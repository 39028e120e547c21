// A zip of files that are compressed already: stored, as PKWARE's APPNOTE 6.3 lays them out.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  return rest;
});

const crc32 = (bytes) => {
  let crc = ~0;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
};

/** Numbers of [value, bytes], little-endian. */
const packed = (...fields) => {
  const bytes = fields.flatMap(([value, length]) => Array.from({ length }, (_, i) => (value >>> (8 * i)) & 0xff));
  return Uint8Array.from(bytes);
};

const UTF8_NAMES = 1 << 11;
const VERSION = 20;
const MIDNIGHT_OF_1980 = 0x0021; // a date has to be there

/** A blob of the files [{name, blob}]. */
export const zipOf = async (files) => {
  const parts = [];
  const entries = [];
  let at = 0;
  for (const { name, blob } of files) {
    const data = new Uint8Array(await blob.arrayBuffer());
    const called = new TextEncoder().encode(name);
    const common = [
      [VERSION, 2],
      [UTF8_NAMES, 2],
      [0, 2],
      [0, 2],
      [MIDNIGHT_OF_1980, 2],
      [crc32(data), 4],
      [data.length, 4],
      [data.length, 4],
      [called.length, 2],
      [0, 2],
    ];
    const head = packed([0x04034b50, 4], ...common);
    entries.push(packed([0x02014b50, 4], [VERSION, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), called);
    parts.push(head, called, data);
    at += head.length + called.length + data.length;
  }
  const size = entries.reduce((sum, { length }) => sum + length, 0);
  const count = files.length;
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [at, 4], [0, 2]);
  return new Blob([...parts, ...entries, end], { type: "application/zip" });
};
