// Small helpers over the DOM that every view uses. No view touches innerHTML: text stays text.

export const byId = (id) => document.getElementById(id);

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

/** el("p", {class: "soft", onclick: f}, "text", child) */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Options of a <select>, keeping the choice when it is still there. */
export const setOptions = (select, options) => {
  const before = select.value;
  select.replaceChildren(...options.map(({ value, text }) => el("option", { value }, text)));
  if (options.some(({ value }) => value === before)) select.value = before;
};

/** The service's own sentence, what it was about, and a way on. `error` null hides the box. */
export const showFault = (box, error, retry = null) => {
  if (error?.name === "AbortError") return;
  box.hidden = !error;
  if (!error) return box.replaceChildren();
  const sentence = el("p", {}, error.message);
  const again = retry && el("button", { class: "button slim", type: "button", onclick: retry }, "Try again");
  box.replaceChildren(sentence, ...(again ? [again] : []));
};

/** What a form asks for cannot be had here: its controls say so. */
export const closeForm = (form) => {
  for (const control of form.querySelectorAll("button, input, select")) control.disabled = true;
};

export const voidNotice = (title, text) =>
  el("div", { class: "void" }, el("h2", {}, title), el("p", { class: "soft" }, text));

/** Save a blob under a name. */
export const saveBlob = (blob, name) => {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
};

export const blobFromBase64 = (text, type) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Blob([bytes], { type });
};

/** Six digits: short enough to say aloud, and enough to be new each time. */
export const randomSeed = () => BigInt(100_000 + (crypto.getRandomValues(new Uint32Array(1))[0] % 900_000));

/** Calls `work(signal)`; a newer call aborts the older one, so that the last wish wins, and `abort()` the last one. */
export const latest = (work) => {
  let controller = null;
  const run = async (...values) => {
    controller?.abort();
    const mine = new AbortController();
    controller = mine;
    try {
      return await work(mine.signal, ...values);
    } finally {
      if (controller === mine) controller = null;
    }
  };
  run.abort = () => controller?.abort();
  return run;
};

/** Numbers as a person reads them: 62.13, 0.0041, 12,000. */
export const pretty = (value, digits = 2) => {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size > 0 && size < 0.01) return value.toPrecision(2);
  return size < 1 ? value.toFixed(digits + 1) : value.toFixed(digits);
};

export const seconds = (value) => {
  const whole = Math.max(0, Math.round(value));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
};
