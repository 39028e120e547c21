// One sample, large: its seed, where it came from, and what to do with it.

import { byId, el, saveBlob } from "./dom.js";

let items = [];
let at = 0;

const dialog = byId("lightbox");

export const openLightbox = (all, index) => {
  items = all;
  at = index;
  render();
  dialog.showModal();
};

const step = (by) => {
  at = (at + by + items.length) % items.length;
  const focused = dialog.contains(document.activeElement) ? document.activeElement.dataset.role : null;
  render();
  if (focused) dialog.querySelector(`[data-role="${focused}"]`)?.focus();
};

const fact = (name, value, style = "") => el("div", {}, el("dt", {}, name), el("dd", { class: style }, value));

const button = (text, role, onclick, style = "") =>
  el("button", { class: `button ${style}`, type: "button", "data-role": role, onclick }, text);

const copyLink = async (event) => {
  const link = new URL(items[at].link, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    event.target.textContent = "Link copied";
  } catch {
    prompt("Copy this link", link); // clipboards are closed to pages that are not served securely
  }
};

const extension = (blob) => blob.type.split("/")[1] ?? "png";

const render = () => {
  const item = items[at];
  const explore = new URLSearchParams({ model: item.model.name, seed: item.seed });
  if (item.truncation) explore.set("truncation", item.truncation);
  if (item.classIndex !== null) explore.set("class", item.classIndex);
  dialog.replaceChildren(
    el("figure", {}, el("img", { src: item.url, alt: `Seed ${item.seed}` })),
    el(
      "aside",
      {},
      el(
        "button",
        {
          class: "button icon plain close",
          type: "button",
          "aria-label": "Close",
          "data-role": "close",
          onclick: () => dialog.close(),
        },
        "✕",
      ),
      el(
        "dl",
        {},
        fact("Seed", String(item.seed), "mono seed"),
        ...(item.label ? [fact("Class", item.label)] : []),
        fact("Model", item.model.label),
        ...(item.truncation ? [fact("Truncation", item.truncation.toFixed(1))] : []),
        fact("Checkpoint", `${item.digest.slice(0, 16)}…`, "mono"),
      ),
      el(
        "div",
        { class: "acts" },
        button(
          "Download",
          "download",
          () => saveBlob(item.blob, `${item.model.name}-seed-${item.seed}.${extension(item.blob)}`),
          "primary",
        ),
        el(
          "a",
          { class: "button", href: `#explore?${explore}`, "data-role": "explore", onclick: () => dialog.close() },
          "Explore from here",
        ),
        button("Copy link", "link", copyLink),
        el(
          "div",
          { class: "joined" },
          button("Previous", "previous", () => step(-1), "grow"),
          button("Next", "next", () => step(1), "grow"),
        ),
      ),
    ),
  );
};

dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
  else return;
  event.preventDefault();
});

// A click on the backdrop closes: it lands on the dialog itself, never on a child.
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
