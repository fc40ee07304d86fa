// The wall: one tile a site, grouped; a change touches only its own tile.

import { h, setText, shape } from "./dom.js";
import { siteLink } from "./links.js";
import { LEVELS, state } from "./state.js";
import { liveTime } from "./times.js";
import { humanise } from "./units.js";
import { fold, t } from "./words.js";

const collator = new Intl.Collator("vi", { numeric: true });

/** Few sites get large tiles that tell more; a nation gets small ones that fit. */
function size(count) {
  if (count <= 6) return "large";
  if (count <= 40) return "medium";
  return count <= 150 ? "small" : "dense";
}

/** named: with the word before the number, where there is room; a hidden word for screen readers otherwise. */
function figures(site, named) {
  const rows = [];
  if (site.rtt_median_seconds !== undefined) rows.push([t("rtt"), humanise("rtt_median_seconds", site.rtt_median_seconds, named ? 3 : 2)]);
  if (site.loss_ratio !== undefined) rows.push([t("loss"), humanise("loss_ratio", site.loss_ratio)]);
  return h("span.figures", {}, rows.map(([name, value]) =>
    h("span.figure", { title: name }, h(named ? "span.figure-name" : "span.unseen", {}, name), " ", h("span.figure-value", {}, value))));
}

const TYPES = { Phường: "P.", Xã: "X.", "Đặc khu": "ĐK.", "Thị trấn": "TT." };

/** "P. Cái Khế": on a wall of Phường and Xã the name itself must not be cut off. */
function shortName(name) {
  return name.replace(/^(Phường|Xã|Đặc khu|Thị trấn) /, (_, type) => `${TYPES[type]} `);
}

function signalCounts(signals) {
  const parts = LEVELS.filter((level) => signals[level]).map((level) =>
    h("span.signal-count", { "data-level": level }, shape(level), `${signals[level]} ${t(level)}`));
  return h("span.signal-counts", {}, parts);
}

function contents(site, tileSize) {
  const word = h("span.tile-word", {}, site.silent ? t("silent") : t(site.level));
  const roomy = tileSize === "large" || tileSize === "medium";
  const head = [shape(site.level), h("span.tile-name", {}, roomy ? site.name : shortName(site.name)), h("span.tile-code", {}, site.site)];
  if (tileSize === "dense") return [...head, word];
  const since = site.since ? [" ", liveTime(site.since, roomy ? "length" : "coarse")] : [];
  const heard = h("span.tile-heard", {}, site.last_heard_at ? liveTime(site.last_heard_at, "heard") : t("never_heard"));
  const state = h("span.tile-state", {}, word, since);
  // In a small tile the figures of a silent site, which are old, make room for how long it has been silent.
  if (!roomy) return [...head, state, site.silent ? heard : figures(site, false)];
  return [...head, state, figures(site, true), tileSize === "large" && signalCounts(site.signals), heard];
}

/** The wall as a view: element, update(site) for one change, filter(words, levels) for what to show. */
export function createWall() {
  const element = h("div.wall");
  const empty = h("p.empty");
  const tiles = new Map(); // site id -> {element, key, words}
  const waiting = new Set();
  let wanted = { words: "", levels: new Set() };
  let tileSize = "large";
  let shown = "";

  function fill(tile, site) {
    const key = JSON.stringify(site);
    if (tile.key === key) return;
    Object.assign(tile, { key, words: fold(`${site.name} ${site.site} ${site.group ?? ""}`) });
    tile.element.dataset.level = site.level;
    tile.element.title = `${site.name} · ${site.site} · ${t(site.level)}`;
    tile.element.replaceChildren(...contents(site, tileSize).filter(Boolean));
  }

  function hide(tile, site) {
    const { words, levels } = wanted;
    tile.element.hidden = !(tile.words.includes(words) && (!levels.size || levels.has(site.level)));
  }

  function build() {
    tileSize = size(state.sites.size);
    element.dataset.size = tileSize;
    element.dataset.sites = String(state.sites.size);
    tiles.clear();
    const groups = new Map();
    for (const site of state.sites.values()) {
      const name = site.group || "";
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(site);
    }
    const names = [...groups.keys()].sort((a, b) => (a === "") - (b === "") || collator.compare(a, b));
    element.replaceChildren(...names.map((name) => group(name, groups.get(name), names.length > 1)), empty);
    shown = signature();
    filter(wanted.words, wanted.levels);
  }

  function group(name, sites, titled) {
    sites.sort((a, b) => collator.compare(a.name, b.name) || collator.compare(a.site, b.site));
    const children = sites.map((site) => {
      const tile = { element: h("a.tile", { href: siteLink(site.site), "data-site": site.site }) };
      fill(tile, site);
      tiles.set(site.site, tile);
      return tile.element;
    });
    const title = (titled || name) && h("h2.group-name", {}, name || t("no_group"), " ", h("span.group-size", {}, String(sites.length)));
    return h("section.group", { style: `--tiles: ${sites.length}` }, title, h("div.tiles", {}, children));
  }

  const signature = () => [...state.sites.values()].map((site) => `${site.site}\t${site.group ?? ""}\t${site.name}`).sort().join("\n");

  function refresh() {
    if (signature() !== shown) { build(); return; }
    for (const site of state.sites.values()) fill(tiles.get(site.site), site);
    filterAgain();
  }

  /** Many changes in one frame are painted once. */
  function update(site) {
    if (!waiting.size) requestAnimationFrame(flush);
    waiting.add(site.site);
  }

  function flush() {
    const changed = [...waiting].map((id) => state.sites.get(id)).filter(Boolean);
    waiting.clear();
    if (changed.every((site) => tiles.has(site.site))) for (const site of changed) fill(tiles.get(site.site), site);
    else build();
    filterAgain();
  }

  /** A change of level may bring a tile, and its whole group, in or out of what is shown. */
  function filterAgain() {
    if (wanted.words || wanted.levels.size) filter(wanted.words, wanted.levels);
  }

  function filter(words, levels) {
    wanted = { words: fold(words.trim()), levels };
    let some = false;
    for (const [id, tile] of tiles) {
      hide(tile, state.sites.get(id) ?? {});
      some ||= !tile.element.hidden;
    }
    for (const section of element.querySelectorAll(".group")) {
      section.hidden = !section.querySelector(".tile:not([hidden])");
    }
    setText(empty, some ? "" : t(state.sites.size ? "no_match" : "no_sites"));
  }

  build();
  return { element, update, refresh, filter };
}
