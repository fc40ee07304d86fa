// Wires the page: what is shown for which address, and what each piece of news changes.

import { fetchIncidents, fetchMe, fetchSites } from "./api.js";
import { byId, drawing, h } from "./dom.js";
import { listenForEver } from "./events.js";
import { drawHeader, refreshCounts, tick } from "./header.js";
import { createIncidentView } from "./incident.js";
import { createIncidentPanel } from "./incidents.js";
import { readPath } from "./links.js";
import { askToSignIn } from "./signin.js";
import { createSiteView } from "./site.js";
import { keepIncident, keepSite, on, state, tell } from "./state.js";
import { createWall } from "./tiles.js";
import { learnServerClock, refreshLiveTimes } from "./times.js";
import { said, t } from "./words.js";

const filters = { words: "", levels: new Set(), changed: () => tell("filtered") };
let view = null;
let early = null; // events that came while everything was being read
let counting = 0;

function createWallView() {
  const wall = createWall();
  const panel = createIncidentPanel();
  const element = h("div.home", {}, h("div.home-main", {}, wall.element), panel.element);
  let only = null; // a machine of its own: its one site is opened under its tile

  function refresh() {
    wall.refresh();
    panel.refresh();
    const id = state.sites.size === 1 ? [...state.sites.keys()][0] : null;
    if ((only?.id ?? null) === id) return;
    only?.view.dispose();
    only?.view.element.remove();
    only = id === null ? null : { id, view: createSiteView(id, true) };
    if (only) element.firstChild.append(only.view.element);
  }

  const filter = () => wall.filter(filters.words, filters.levels);
  const ends = [on("refreshed", refresh), on("site", wall.update), on("incident", panel.refresh), on("filtered", filter)];
  refresh();
  filter();
  return { element, dispose: () => { ends.forEach((end) => end()); only?.view.dispose(); } };
}

function createView() {
  const { view: name, id } = readPath(location.pathname);
  document.body.dataset.view = name;
  if (name === "wall") return createWallView();
  const inner = name === "site" ? createSiteView(id) : createIncidentView(id);
  const back = h("a.back", { href: "/" }, drawing("glyph-back"), t("back"));
  return { element: h("div.detail", {}, back, inner.element), dispose: inner.dispose };
}

function show() {
  view?.dispose();
  view = null;
  if (!state.loaded) {
    byId("main").replaceChildren(h("p.empty", {}, t("loading")));
    return;
  }
  view = createView();
  byId("main").replaceChildren(view.element);
  retune();
}

function go(path) {
  history.pushState(null, "", path);
  scrollTo(0, 0);
  show();
  byId("main").focus({ preventScroll: true });
}

/** Reads everything again: at the start, and after every gap in the news. */
async function refresh() {
  const [sites, open, resolved, me] = await Promise.all([fetchSites(), fetchIncidents("open", 200), fetchIncidents("resolved", 10), fetchMe()]);
  learnServerClock(sites.server.now);
  byId("footer").textContent = `Nhịp ${sites.server.version}`;
  state.sites = new Map(sites.sites.map((site) => [site.site, site]));
  state.open = new Map(open.incidents.map((incident) => [incident.id, incident]));
  state.resolved = new Map(resolved.incidents.map((incident) => [incident.id, incident]));
  const first = !state.loaded;
  const another = me.signed_in !== state.me.signed_in;
  state.me = me;
  state.loaded = true;
  if (another) drawHeader(filters);
  if (first) show();
  else tell("refreshed");
  retune();
  refreshCounts();
}

/** Tries until it works; what happens meanwhile is applied on top of what was read. */
async function reload() {
  early ??= [];
  try {
    await refresh();
  } catch (error) {
    if (error.status !== 401) setTimeout(reload, 2000);
    return;
  }
  const waiting = early;
  early = null;
  for (const [name, data] of waiting ?? []) heard(name, data);
}

function heard(name, data) {
  if (early) {
    early.push([name, data]);
  } else if (name === "site") {
    keepSite(data);
    tell("site", data);
    countSoon();
  } else if (name === "incident") {
    announce(keepIncident(data), data);
    tell("incident", data);
    countSoon();
  } else if (name === "signal") {
    tell("signal", data);
  }
}

/** A burst of changes is counted once a frame. */
function countSoon() {
  counting ||= requestAnimationFrame(() => { counting = 0; refreshCounts(); });
}

function announce(change, incident) {
  const words = { opened: "new_incident", resolved: "incident_resolved" }[change];
  if (words) byId("announcer").textContent = `${t(words)}: ${incident.site_name ?? incident.site} · ${said(incident.cause.text)}`;
}

function setConnection(connection) {
  state.connection = connection;
  tick();
}

function followLinks(event) {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
}

function searchKey(event) {
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    byId("search")?.focus();
  } else if (event.key === "Escape" && event.target.id === "search") {
    event.target.value = "";
    event.target.dispatchEvent(new Event("input"));
  }
}

addEventListener("popstate", show);
addEventListener("nhip-language", () => { drawHeader(filters); show(); });
addEventListener("nhip-theme", () => { drawHeader(filters); tell("theme"); });
document.addEventListener("click", followLinks);
document.addEventListener("keydown", searchKey);
drawHeader(filters);
setInterval(() => { tick(); refreshLiveTimes(); }, 1000);

show();
/** Values of one site's signals are sent only to those who look at it. */
function eventsPath() {
  const { view: name, id } = readPath(location.pathname);
  const site = name === "site" ? id : state.sites.size === 1 ? [...state.sites.keys()][0] : null;
  return site === null ? "/api/v1/events" : `/api/v1/events?site=${encodeURIComponent(site)}`;
}

function retune() {
  if (eventsPath() === tuned) return;
  tuned = eventsPath();
  stream.retune();
}

let tuned = eventsPath();
const stream = listenForEver(() => tuned, {
  opened: (seamless) => {
    setConnection("live");
    if (!seamless) reload();
  },
  news: () => { state.lastNewsAt = performance.now(); },
  event: heard,
  lost: (status) => {
    setConnection(status === 401 ? "connecting" : "lost");
    if (status === 401) dispatchEvent(new Event("nhip-sign-in"));
  },
});
addEventListener("nhip-sign-in", () => askToSignIn(() => { stream.retry(); reload(); }));
