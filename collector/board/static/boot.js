// Runs before the first paint, so that a remembered theme or language does not flash through another.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const read = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const apply = () => { root.dataset.theme = read("nhip.theme") ?? (dark.matches ? "dark" : "light"); };
  apply();
  dark.addEventListener("change", () => { apply(); dispatchEvent(new Event("nhip-theme")); });
  root.lang = read("nhip.language") === "en" ? "en" : "vi";
})();
