// The chart of a site: which series, which span, live at its end.

import { fetchSeries } from "./api.js";
import { h, setText } from "./dom.js";
import { columnsOf, firstSeries, metricsOf, plansOf, rowsByTime } from "./plans.js";
import { createPlot } from "./plot.js";
import { on } from "./state.js";
import { moment, now } from "./times.js";
import { duration, humanise } from "./units.js";
import { metricName, t } from "./words.js";

const RANGES = { "10m": 600, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000, "90d": 7776000 };
const FASTEST_SECONDS = 2;
const SLOWEST_SECONDS = 60;

/** The shortest range button that holds so many seconds. */
export const rangeFor = (seconds) => Object.keys(RANGES).find((name) => RANGES[name] >= seconds) ?? "90d";

const planName = (plan) => (plan.key === "rtt" ? t("rtt_spread") : metricName(plan.key));

function options(names, chosen) {
  return names.map((name, place) => h("option", { value: place, selected: place === chosen }, name));
}

/** before: choice() of an earlier chart, so that a changed list of series keeps what was being looked at. */
export function createChart(site, series, before) {
  if (!series.length) return { element: h("p.quiet", {}, t("no_series")), dispose() {}, choice: () => undefined };
  const same = (one) => before && one.node === before.node && one.check === before.check && one.target === before.target;
  let chosen = Math.max(series.findIndex(same), -1);
  if (chosen < 0) chosen = firstSeries(series);
  let plan = plansOf(series[chosen]).find(({ key }) => key === before?.plan) ?? plansOf(series[chosen])[0];
  let range = before?.range ?? "1h";
  let zoom = before?.zoom ?? null; // [from, to] in epoch seconds, or null for the live range
  let tables = new Map();
  let step = 1;
  let data = null;
  let plot = null;
  let asking = new AbortController();
  let timer = 0;

  const box = h("div.plot", { role: "img" });
  const note = h("p.plot-note");
  const legend = h("div.legend", {});
  const buttons = Object.keys(RANGES).map((name) => h("button.segment", { type: "button", "data-range": name, onclick: () => { range = name; zoom = null; load(); } }, t(name)));
  const seriesSelect = h("select", { "aria-label": t("series"), onchange: () => { chosen = Number(seriesSelect.value); plan = plansOf(series[chosen])[0]; choosePlan(); load(); } },
    options(series.map((one) => `${[one.check, one.target].filter(Boolean).join(" → ")} · ${one.node}`), chosen));
  const planSelect = h("select", { "aria-label": t("metric"), onchange: () => { plan = plansOf(series[chosen])[Number(planSelect.value)]; load(); } });
  const zoomButton = (key, sign, action) => h("button.segment", { type: "button", "aria-label": t(key), title: t(key), "data-zoom": key, onclick: action }, sign);
  const reset = zoomButton("zoom_reset", "↺", () => backToLive());
  const element = h("div.chart", {},
    h("div.chart-bar", {}, h("div.selects", {}, seriesSelect, planSelect),
      h("div.segments", { role: "group", "aria-label": t("range") }, buttons,
        zoomButton("zoom_in", "+", () => scaleBy(0.5)), zoomButton("zoom_out", "−", () => scaleBy(2)), reset)),
    h("div.plot-box", {}, box, note), legend);

  const span = () => zoom ?? [now() / 1000 - RANGES[range], now() / 1000];

  function choosePlan() {
    const plans = plansOf(series[chosen]);
    planSelect.replaceChildren(...options(plans.map(planName), plans.findIndex(({ key }) => key === plan.key)));
    planSelect.hidden = plans.length < 2;
  }

  /** tail: only what is newer than the last row; the rest is here already. */
  async function load(tail = false) {
    clearTimeout(timer);
    asking.abort();
    const mine = asking = new AbortController();
    const [from, to] = span();
    const times = data?.[0] ?? [];
    const { node, check, target } = series[chosen];
    const iso = (seconds) => new Date(Math.round(seconds * 1000)).toISOString();
    // The collector picks the step: it knows how fine what it keeps is. The tail goes on with the same one.
    const whole = zoom ? { from: iso(from), to: iso(to) } : { from: `-${range}` };
    const part = tail && times.length > 1 ? { from: iso(times.at(-1) - step), step } : whole;
    if (!tail) { markRange(); element.setAttribute("aria-busy", "true"); }
    try {
      const answers = await fetchSeries({ site, node, check, target }, metricsOf(plan, series[chosen]), part, mine.signal);
      if (mine.signal.aborted) return;
      keep(answers, tail, from);
      draw(tail);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (!tail && error.status) setText(note, t("failed", { message: error.message }));
    }
    element.removeAttribute("aria-busy");
    if (!zoom) timer = setTimeout(() => load(true), 1000 * Math.min(Math.max(step, FASTEST_SECONDS), SLOWEST_SECONDS));
  }

  function keep(answers, tail, from) {
    if (!tail) tables = new Map();
    step = answers[0]?.step_seconds ?? step;
    for (const answer of answers) {
      const rows = new Map([...(tables.get(answer.metric) ?? []), ...rowsByTime(answer)].filter(([at]) => at >= from - step));
      tables.set(answer.metric, rows);
    }
  }

  function draw(tail) {
    data = columnsOf(plan, tables, step);
    setText(note, data[0].length ? "" : t("no_data"));
    if (tail && plot) {
      plot.setData(data);
    } else {
      plot?.destroy();
      box.replaceChildren();
      plot = createPlot(box, plan, data, span, { picked, back: backToLive, cursor: showLegend });
    }
    showLegend(null);
  }

  function markRange() {
    for (const button of buttons) button.setAttribute("aria-pressed", String(!zoom && button.dataset.range === range));
    reset.hidden = !zoom;
  }

  function picked(from, to) {
    zoom = [from, Math.max(to, from + 5)];
    load();
  }

  function scaleBy(factor) {
    const [from, to] = span();
    const half = Math.min(Math.max(((to - from) * factor) / 2, 5), RANGES["90d"] / 2);
    const end = Math.min((from + to) / 2 + half, now() / 1000);
    picked(end - 2 * half, end);
  }

  function backToLive() {
    if (!zoom) return;
    zoom = null;
    load();
  }

  /** Under the cursor, or the newest measurement. */
  function showLegend(place) {
    const at = place ?? (data?.[0].length ?? 0) - 1;
    if (at < 0) { legend.replaceChildren(); return; }
    const [times, low, middle, high, fault] = data.map((column) => column[at]);
    const value = (number) => humanise(plan.metric, number);
    const items = [
      h("span.legend-time", {}, moment(times * 1000)),
      h("span.legend-item", {}, h("i.key.key-line"), `${t("median")} `, h("b", {}, value(middle))),
      h("span.legend-item", {}, h("i.key.key-band"), `${t("spread")} `, h("b", {}, low === null ? "–" : `${value(low)} – ${value(high)}`)),
      plan.fault && h("span.legend-item", {}, h("i.key.key-fault"), `${t(plan.fault === "success" ? "failures" : "loss")} `, h("b", {}, humanise("loss_ratio", fault))),
      h("span.legend-hint", {}, `${t("step", { age: duration(step) })} · ${t("zoom_hint")}`),
    ];
    legend.replaceChildren(...items.filter(Boolean));
    if (place === null) box.setAttribute("aria-label", `${planName(plan)}: ${t("median")} ${value(middle)}, ${t("spread")} ${value(low)} – ${value(high)}`);
  }

  const ends = [on("theme", () => data && draw(false))];
  choosePlan();
  load();
  const dispose = () => { ends.forEach((end) => end()); clearTimeout(timer); asking.abort(); plot?.destroy(); };
  const choice = () => ({ ...series[chosen], plan: plan.key, range, zoom });
  return { element, dispose, choice };
}
