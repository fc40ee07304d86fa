// One incident: what, where, since when, the evidence, and what happened in order.

import { fetchIncident } from "./api.js";
import { h, shape } from "./dom.js";
import { acknowledgement, evidenceLine } from "./incidents.js";
import { siteLink } from "./links.js";
import { on, state } from "./state.js";
import { fixedTime, liveTime } from "./times.js";
import { duration } from "./units.js";
import { said, t } from "./words.js";

function facts(incident) {
  const rows = [
    [t("cause"), [t(`kind_${incident.cause.kind}`), incident.cause.place].filter(Boolean).join(" · ")],
    [t("affected"), h("span.site-links", {}, (incident.sites ?? [incident.site]).map((site) => h("a", { href: siteLink(site) }, state.sites.get(site)?.name ?? site)))],
    [t("began"), fixedTime(incident.began_at)],
    [t("opened"), fixedTime(incident.opened_at)],
    incident.resolved_at && [t("resolved"), fixedTime(incident.resolved_at)],
    [t("state"), incident.state === "open"
      ? h("span", {}, `${t("open")} · ${t("open_since")} `, liveTime(incident.began_at, "length"))
      : `${t("resolved")} · ${t("lasted")} ${duration((Date.parse(incident.resolved_at) - Date.parse(incident.began_at)) / 1000)}`],
  ];
  return h("dl.facts", {}, rows.filter(Boolean).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function evidenceList(evidence) {
  return h("ul.evidence", {}, evidence.map((one) =>
    h("li", { "data-level": one.level }, shape(one.level), h("span.unseen", {}, t(one.level)), h("span", {}, one.node && `${one.node} · `, evidenceLine(one)), one.at && fixedTime(one.at))));
}

function timeline(entries) {
  return h("ol.timeline", {}, entries.map((entry) => h("li", { "data-kind": entry.kind }, fixedTime(entry.at), h("span", {}, said(entry.text)))));
}

function page(incident) {
  const level = incident.state === "open" ? incident.severity : "green";
  return [
    h("header.page-head", { "data-level": level }, shape(level), h("div", {},
      h("h1", {}, said(incident.cause.text)),
      h("p.page-sub", {}, h("a", { href: siteLink(incident.site) }, incident.site_name ?? incident.site), ` · ${incident.id}`)), acknowledgement(incident)),
    h("div.columns", {},
      h("section.panel", {}, facts(incident), h("h2.panel-title.second", {}, t("evidence")), evidenceList(incident.evidence ?? [])),
      h("section.panel", {}, h("h2.panel-title", {}, t("timeline")), timeline(incident.timeline ?? []))),
  ];
}

export function createIncidentView(id) {
  const element = h("div.page", {}, h("p.quiet", {}, t("loading")));

  async function refresh() {
    try {
      element.replaceChildren(...page(await fetchIncident(id)));
    } catch (error) {
      if (error.status === 404) element.replaceChildren(h("p.empty", {}, t("not_found_incident")));
      else if (error.status) element.replaceChildren(h("p.empty", {}, t("failed", { message: error.message })));
    }
  }

  const ends = [on("refreshed", refresh), on("incident", (incident) => incident.id === id && refresh())];
  refresh();
  return { element, dispose: () => ends.forEach((end) => end()) };
}
