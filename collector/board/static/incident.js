// One incident: what, where, since when, the evidence, and what happened in order.

import { fetchIncident, fetchSite } from "./api.js";
import { createChart, rangeFor } from "./chart.js";
import { h, shape } from "./dom.js";
import { acknowledgement, evidenceLine, placeLink } from "./incidents.js";
import { siteLink } from "./links.js";
import { on, state } from "./state.js";
import { fixedTime, liveTime, now } from "./times.js";
import { duration } from "./units.js";
import { said, t } from "./words.js";

const MOST_SITES = 60;

const siteName = (site) => state.sites.get(site)?.name ?? site;

/** Every site that it reached, as links; a nation's worth of them would be no list to read. */
function reached(incident) {
  const sites = (incident.sites ?? [incident.site]).filter(Boolean);
  const more = sites.length - MOST_SITES;
  return h("span.site-links", {}, sites.slice(0, MOST_SITES).map((site) => h("a", { href: siteLink(site) }, siteName(site))), more > 0 && t("and_more", { n: more }));
}

function reports(incident) {
  return h("span", {}, incident.reports.map(({ hours, due_at }) => h("div", {}, `${t("report_due", { hours })} `, fixedTime(due_at))));
}

function facts(incident) {
  const rows = [
    [t("cause"), [t(`kind_${incident.cause.kind}`), incident.site ? incident.cause.place : incident.site_name].filter(Boolean).join(" · ")],
    [t("affected"), reached(incident)],
    incident.serious && [t("serious"), reports(incident)],
    incident.assigned_to && [t("assigned_to"), incident.assigned_to],
    [t("began"), fixedTime(incident.began_at)],
    [t("opened"), fixedTime(incident.opened_at)],
    incident.resolved_at && [t("resolved"), fixedTime(incident.resolved_at)],
    [t("state"), incident.state === "open"
      ? h("span", {}, `${t("open")} · ${t("open_since")} `, liveTime(incident.began_at, "length"))
      : `${t("resolved")} · ${t("lasted")} ${duration((Date.parse(incident.resolved_at) - Date.parse(incident.began_at)) / 1000)}`],
  ];
  return h("dl.facts", {}, rows.filter(Boolean).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function evidenceList(incident) {
  const where = (one) => one.site && one.site !== incident.site && siteName(one.site);
  return h("ul.evidence", {}, (incident.evidence ?? []).slice(0, MOST_SITES).map((one) =>
    h("li", { "data-level": one.level }, shape(one.level), h("span.unseen", {}, t(one.level)), h("span", {}, [where(one), one.node, evidenceLine(one)].filter(Boolean).join(" · ")), one.at && fixedTime(one.at))));
}

function timeline(entries) {
  return h("ol.timeline", {}, entries.map((entry) => h("li", { "data-kind": entry.kind }, fixedTime(entry.at), h("span", {}, said(entry.text)))));
}

/** The chart of what went wrong: from well before it began until now, or well after it ended. */
function chartChoice(incident) {
  const [evidence = {}] = incident.evidence ?? [];
  const began = Date.parse(incident.began_at) / 1000;
  const end = incident.resolved_at ? Date.parse(incident.resolved_at) / 1000 : now() / 1000;
  const margin = Math.max(300, (end - began) / 2);
  const open = incident.state === "open";
  return { ...evidence, plan: evidence.metric, range: rangeFor(2 * (end - began)), zoom: open ? null : [began - margin, end + margin] };
}

function page(incident, chartBox) {
  const level = incident.state === "open" ? incident.severity : "green";
  return [
    h("header.page-head", { "data-level": level }, shape(level), h("div", {},
      h("h1", {}, said(incident.cause.text)),
      h("p.page-sub", {}, placeLink(incident, incident.site_name ?? incident.site), ` · ${incident.id}`)), acknowledgement(incident)),
    h("div.columns", {},
      h("div.stack", {}, h("section.panel", {}, facts(incident), incident.evidence?.length > 0 && [h("h2.panel-title.second", {}, t("evidence")), evidenceList(incident)]), chartBox),
      h("section.panel", {}, h("h2.panel-title", {}, t("timeline")), timeline(incident.timeline ?? []))),
  ];
}

export function createIncidentView(id) {
  const element = h("div.page", {}, h("p.quiet", {}, t("loading")));
  const chartBox = h("section.panel.chart-panel");
  let chart = null;

  async function refresh() {
    try {
      const incident = await fetchIncident(id);
      element.replaceChildren(...page(incident, chartBox));
      const site = incident.site || incident.evidence?.[0]?.site; // of what many share: where it is seen worst
      chartBox.hidden = !site;
      if (chart || !site) return;
      chart = createChart(site, (await fetchSite(site)).series, chartChoice(incident));
      chartBox.replaceChildren(chart.element);
    } catch (error) {
      if (error.status === 404) element.replaceChildren(h("p.empty", {}, t("not_found_incident")));
      else if (error.status) element.replaceChildren(h("p.empty", {}, t("failed", { message: error.message })));
    }
  }

  const ends = [on("refreshed", refresh), on("incident", (incident) => incident.id === id && refresh())];
  refresh();
  return { element, dispose: () => { ends.forEach((end) => end()); chart?.dispose(); } };
}
