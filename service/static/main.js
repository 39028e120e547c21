// Starts the page: which view is shown, what the service has, whether it is up, and the key.

import { getModels, isReady, setKey } from "./api.js";
import { byId } from "./dom.js";
import * as edit from "./edit.js";
import * as explore from "./explore.js";
import * as sample from "./sample.js";
import * as score from "./score.js";
import * as translate from "./translate.js";

const views = { sample, explore, edit, translate, score };
const started = new Set();
let models = null;

/** "#explore?model=dcgan&corners=1,2,3,4" -> ["explore", URLSearchParams] */
const readHash = () => {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return [name in views ? name : "sample", new URLSearchParams(query)];
};

const show = () => {
  const [name, query] = readHash();
  for (const other of Object.keys(views)) byId(`view-${other}`).hidden = other !== name;
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.hash === `#${name}`) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · Gan Service`;
  if (models === null) return;
  if (!started.has(name)) {
    started.add(name);
    views[name].start(models);
  }
  views[name].show?.(query);
};

const setHealth = (state, text) => {
  const box = byId("health");
  box.dataset.state = state;
  box.textContent = text;
};

const load = async () => {
  try {
    models = await getModels();
    const count = models.length === 1 ? "1 model" : `${models.length} models`;
    setHealth("ready", `${count} ready`);
    byId("foot-models").textContent = models.map((model) => model.name).join(", ");
  } catch (error) {
    if (error.status === 401) return askKey();
    setHealth("down", (await isReady()) ? "Not available" : "Not ready");
    models = [];
    models.reason = error.message;
  }
  show();
};

const askKey = () => {
  byId("key-open").hidden = false;
  setHealth("down", "Key needed");
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
};

byId("key-open").addEventListener("click", askKey);
byId("key-dialog").addEventListener("close", () => {
  const key = byId("key-input").value.trim();
  byId("key-input").value = "";
  if (byId("key-dialog").returnValue !== "save" || !key) return;
  setKey(key);
  started.clear();
  load();
});
addEventListener("gan:key-needed", askKey);
addEventListener("hashchange", () => {
  scrollTo(0, 0);
  show();
  byId("main").focus({ preventScroll: true });
});

show();
load();
