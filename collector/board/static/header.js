// The bar on top: who we are, how many of each level, whether the page is live, language and theme.

import { signOut } from "./api.js";
import { byId, drawing, h, remember, setText, shape } from "./dom.js";
import { counts, LEVELS, state } from "./state.js";
import { clockTime, exactly, now } from "./times.js";
import { duration } from "./units.js";
import { currentLanguage, setLanguage, t } from "./words.js";

const ICON_COLOUR = { red: "%23c4251c", yellow: "%23e0a000", unknown: "%237a8794", green: "%230b8a63" };

const theme = () => document.documentElement.dataset.theme;

function flipTheme() {
  document.documentElement.dataset.theme = theme() === "dark" ? "light" : "dark";
  remember("nhip.theme", theme());
  dispatchEvent(new Event("nhip-theme"));
}

function themeButton() {
  const next = theme() === "dark" ? "light" : "dark";
  return h("button.icon-button", { type: "button", id: "theme", title: t(`to_${next}`), "aria-label": t(`to_${next}`), onclick: flipTheme },
    drawing(next === "dark" ? "glyph-moon" : "glyph-sun"));
}

function languageButton() {
  const next = currentLanguage() === "vi" ? "en" : "vi";
  const flip = () => { setLanguage(next); dispatchEvent(new Event("nhip-language")); };
  return h("button.text-button", { type: "button", id: "language", lang: next, onclick: flip }, t("other_language"));
}

async function leave() {
  await signOut().catch(() => null);
  location.assign("/");
}

/** filters: {levels: Set, words: string, changed()}; the chips and the search box write to it. */
export function drawHeader(filters) {
  const focused = document.activeElement?.id; // a redrawn button keeps the keyboard's place
  const search = h("input", { type: "search", id: "search", placeholder: t("search"), "aria-label": t("search"), title: t("search_key"),
    oninput: () => { filters.words = search.value; filters.changed(); } });
  search.value = filters.words;
  byId("header").replaceChildren(
    h("a.brand", { href: "/", "aria-label": `Nhịp · ${t("board")}` }, drawing("mark", "mark"), h("span", {}, "Nhịp")),
    h("div.chips", { role: "group", "aria-label": t("level") }, LEVELS.map((level) => chip(level, filters))),
    h("label.search", {}, drawing("glyph-search"), search),
    h("span.spring"),
    h("span.pulse", { id: "pulse" }, h("span.dot"), h("span", { id: "pulse-word" })),
    h("time.clock", { id: "clock" }), languageButton(), themeButton(),
    ...(state.me.signed_in ? [h("button.text-button", { type: "button", onclick: leave }, t("sign_out"))] : []));
  if (focused) byId(focused)?.focus();
  byId("skip").textContent = t("skip");
  refreshCounts();
  tick();
}

function chip(level, filters) {
  const press = () => {
    if (!filters.levels.delete(level)) filters.levels.add(level);
    button.setAttribute("aria-pressed", String(filters.levels.has(level)));
    filters.changed();
  };
  const button = h("button.chip", { type: "button", "data-level": level, "aria-pressed": String(filters.levels.has(level)), title: t("show_only", { level: t(level) }), onclick: press },
    shape(level), h("b", { "data-count": level }), h("span.chip-word", {}, t(level)));
  return button;
}

/** Numbers on the chips, the tab's title and icon. */
export function refreshCounts() {
  const count = counts();
  for (const level of LEVELS) {
    const element = document.querySelector(`[data-count="${level}"]`);
    if (element) setText(element, String(count[level]));
  }
  const worst = LEVELS.find((level) => count[level]) ?? "unknown";
  const icon = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='4' fill='${ICON_COLOUR[worst]}'/><path d='M2 9h3l2-5 2 8 2-5 1 2h2' fill='none' stroke='white' stroke-width='1.6'/></svg>`;
  if (byId("icon").getAttribute("href") !== icon) byId("icon").setAttribute("href", icon);
  document.title = `${state.open.size ? `(${state.open.size}) ` : ""}Nhịp · ${t("board")}`;
}

/** Each second: the clock, and how old the news is. */
export function tick() {
  const at = now();
  const clock = byId("clock");
  if (clock) {
    setText(clock, clockTime(at));
    clock.title = exactly(at);
  }
  document.documentElement.dataset.connection = state.connection;
  if (byId("pulse-word")) setText(byId("pulse-word"), t(state.connection === "lost" ? "lost_short" : state.connection));
  const age = state.lastNewsAt === null ? null : duration((performance.now() - state.lastNewsAt) / 1000);
  const banner = state.connection !== "lost" ? "" : age === null ? t("lost_never") : t("lost", { age });
  setText(byId("banner"), banner);
}
