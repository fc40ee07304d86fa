// One site: its chart, its judged signals, its nodes and its incidents.

import { fetchSite } from "./api.js";
import { createChart } from "./chart.js";
import { h, setText, shape } from "./dom.js";
import { incidentCard } from "./incidents.js";
import { newestFirst, on } from "./state.js";
import { liveTime } from "./times.js";
import { humanise } from "./units.js";
import { metricName, t } from "./words.js";

const SEVERITY = { red: 0, yellow: 1, unknown: 2, green: 3 };
const signalKey = (signal) => [signal.node, signal.check, signal.target, signal.metric].join("\t");

function head(site) {
  const since = site.since ? [" · ", liveTime(site.since, "length")] : [];
  const heard = site.last_heard_at ? liveTime(site.last_heard_at, "heard") : h("span", {}, t("never_heard"));
  return h("header.page-head", { "data-level": site.level }, shape(site.level), h("div", {},
    h("h1", {}, site.name),
    h("p.page-sub", {}, h("strong", {}, site.silent ? t("silent") : t(site.level)), ...since, " · ", heard, ` · ${site.site}`, site.group && ` · ${site.group}`)));
}

function levelCell(level) {
  return [shape(level), h("span", {}, t(level))];
}

function signalRow(signal) {
  return h("tr", { "data-level": signal.level, "data-signal": signalKey(signal) },
    h("td.cell-level", {}, levelCell(signal.level)),
    h("td", {}, metricName(signal.metric), signal.reason && h("small.reason", {}, signal.reason)),
    h("td.cell-value", {}, humanise(signal.metric, signal.value)),
    h("td.cell-target", {}, h("code", {}, signal.check), " ", signal.target, h("small", {}, signal.node)),
    h("td.cell-when", {}, signal.measured_at ? liveTime(signal.measured_at, "ago") : "–"));
}

function signalTable(signals) {
  if (!signals.length) return h("p.quiet", {}, t("no_signals"));
  const sorted = [...signals].sort((a, b) => SEVERITY[a.level] - SEVERITY[b.level]);
  const titles = ["level", "metric", "value", "target", "measured"].map((key) => h("th", { scope: "col" }, t(key)));
  return h("table.signals", {}, h("thead", {}, h("tr", {}, titles)), h("tbody", {}, sorted.map(signalRow)));
}

function nodeList(nodes) {
  return h("ul.nodes", {}, nodes.map((node) => {
    const level = node.silent ? "red" : "green";
    return h("li", { "data-level": level }, shape(level), h("span", {}, h("strong", {}, node.node), " ", node.silent && t("silent")),
      node.last_heard_at ? liveTime(node.last_heard_at, "heard") : t("never_heard"));
  }));
}

/** One signal event touches one row. */
function applySignal(element, signal) {
  const row = element.querySelector(`[data-signal="${CSS.escape(signalKey(signal))}"]`);
  if (!row) return;
  if (row.dataset.level !== signal.level) row.querySelector(".cell-level").replaceChildren(...levelCell(signal.level));
  row.dataset.level = signal.level;
  setText(row.querySelector(".cell-value"), humanise(signal.metric, signal.value));
  if (signal.measured_at) row.querySelector(".cell-when").replaceChildren(liveTime(signal.measured_at, "ago"));
}

/** embedded: under the wall of a single site, which has said the name and the incidents already. */
export function createSiteView(id, embedded = false) {
  const parts = { head: h("div"), signals: h("div.table-box"), nodes: h("div"), incidents: h("div.incident-list") };
  const chartBox = h("section.panel.chart-panel", {}, h("p.quiet", {}, t("loading")));
  const incidents = h("section.panel", {}, h("h2.panel-title", {}, t("history")), parts.incidents);
  const element = h("div.page", {}, !embedded && parts.head, chartBox, h("div.columns", {},
    h("section.panel", {}, h("h2.panel-title", {}, t("signals_of_site")), parts.signals),
    h("div.stack", {}, h("section.panel", {}, h("h2.panel-title", {}, t("nodes")), parts.nodes), !embedded && incidents)));
  let chart = null;
  let seriesKey = "";

  function draw(site) {
    parts.head.replaceChildren(head(site));
    parts.signals.replaceChildren(signalTable(site.signals));
    parts.nodes.replaceChildren(nodeList(site.nodes));
    const sorted = newestFirst(site.incidents, "began_at").sort((a, b) => (b.state === "open") - (a.state === "open"));
    parts.incidents.replaceChildren(...(sorted.length ? sorted.map((incident) => incidentCard(incident, false)) : [h("p.quiet", {}, t("no_history"))]));
    const key = JSON.stringify(site.series);
    if (key === seriesKey && chart) return;
    const choice = chart?.choice() ?? (embedded ? { range: "10m" } : undefined);
    chart?.dispose();
    seriesKey = key;
    chart = createChart(id, site.series, choice);
    chartBox.replaceChildren(chart.element);
  }

  async function refresh() {
    try {
      draw(await fetchSite(id));
    } catch (error) {
      if (error.status) element.replaceChildren(h("p.empty", {}, error.status === 404 ? t("not_found_site") : t("failed", { message: error.message })));
    }
  }

  // A burst of events about one site becomes one reading of it.
  let timer = 0;
  const soon = () => { timer ||= setTimeout(() => { timer = 0; refresh(); }, 300); };
  const ends = [
    on("refreshed", refresh),
    on("site", (site) => site.site === id && soon()),
    on("incident", (incident) => (incident.sites ?? [incident.site]).includes(id) && soon()),
    on("signal", (signal) => signal.site === id && applySignal(element, signal)),
  ];
  refresh();
  return { element, dispose: () => { ends.forEach((end) => end()); clearTimeout(timer); chart?.dispose(); } };
}
