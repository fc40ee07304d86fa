// Incidents in lists: the panel beside the wall, and a site's history.

import { acknowledge } from "./api.js";
import { h, shape } from "./dom.js";
import { incidentLink, siteLink } from "./links.js";
import { keepIncident, newestFirst, state, tell } from "./state.js";
import { exactly, fixedTime, liveTime } from "./times.js";
import { duration, humanise, isBoolean } from "./units.js";
import { metricName, said, t } from "./words.js";

const RECENT = 8;

/** "http_get 127.0.0.1: the service does not answer" and the reason, as one line; metric and value where no words came. */
export function evidenceLine(evidence) {
  const subject = [evidence.check, evidence.target].filter(Boolean).join(" ");
  const value = evidence.value === undefined ? "" : ` ${humanise(evidence.metric, evidence.value)}`;
  const limit = evidence.limit === undefined || isBoolean(evidence.metric) ? "" : ` (${t("limit", { limit: humanise(evidence.metric, evidence.limit) })})`;
  const measured = `${metricName(evidence.metric)}${value && isBoolean(evidence.metric) ? ":" : ""}${value}${limit}`;
  const reason = evidence.reason ? ` · ${evidence.reason}` : "";
  return `${subject}: ${said(evidence.text) || measured}${reason}`;
}

function lasted(incident) {
  if (incident.state === "open") return h("span", {}, `${t("open_since")} `, liveTime(incident.began_at, "length"));
  const seconds = (Date.parse(incident.resolved_at) - Date.parse(incident.began_at)) / 1000;
  return h("span", {}, `${t("lasted")} ${duration(seconds)}`);
}

/** A button, or who pressed it. A refusal says what is needed, where the button was. */
export function acknowledgement(incident) {
  if (incident.acknowledged_at) {
    const words = incident.acknowledged_by ? t("acknowledged_by", { who: incident.acknowledged_by }) : t("acknowledged");
    return h("span.acknowledged", { title: exactly(incident.acknowledged_at) }, `✓ ${words}`);
  }
  if (incident.state !== "open") return null;
  const box = h("div.acknowledge");
  const button = h("button.button", { type: "button", onclick: () => press(incident, box, button) }, t("acknowledge"));
  box.append(button);
  return box;
}

async function press(incident, box, button) {
  button.disabled = true;
  try {
    const answer = await acknowledge(incident.id);
    keepIncident(answer);
    tell("incident", answer);
  } catch (error) {
    const refused = error.status === 401 || error.status === 403;
    const words = refused ? t("need_operator") : t("failed", { message: error.message });
    const signIn = refused && h("button.button", { type: "button", onclick: () => dispatchEvent(new Event("nhip-sign-in")) }, t("sign_in"));
    box.replaceChildren(button, ...[h("p.refusal", { role: "alert" }, words), signIn].filter(Boolean));
    button.disabled = false;
  }
}

export function placeNames(incident) {
  const count = incident.sites?.length ?? 1;
  if (!incident.site) return `${incident.site_name} (${count})`; // what many share is at none of them
  return `${incident.site_name ?? incident.site}${count > 1 ? ` +${count - 1}` : ""}`;
}

/** Where it is: a link to its site; of what many sites share, only the name. */
export function placeLink(incident, words) {
  return incident.site ? h("a", { href: siteLink(incident.site) }, words) : h("span", {}, words);
}

/** One incident as a card; withSite is false where the page already says which site. */
export function incidentCard(incident, withSite = true) {
  const level = incident.state === "open" ? incident.severity : "green";
  const [evidence] = incident.evidence ?? [];
  return h("article.incident", { "data-level": level, "data-state": incident.state, "data-incident": incident.id },
    h("a.incident-what", { href: incidentLink(incident.id) }, shape(level), h("span.unseen", {}, `${t(incident.state === "open" ? incident.severity : "resolved")}: `), said(incident.cause.text)),
    h("p.incident-where", {}, withSite && placeLink(incident, placeNames(incident)), withSite && " · ", t(`kind_${incident.cause.kind}`)),
    h("p.incident-when", {}, fixedTime(incident.began_at), " · ", lasted(incident)),
    evidence && incident.state === "open" && h("p.incident-evidence", {}, evidenceLine(evidence)),
    acknowledgement(incident));
}

/** The panel beside the wall: open ones, newest first, then those resolved lately. */
export function createIncidentPanel() {
  const open = h("div.incident-list");
  const resolved = h("div.incident-list");
  const count = h("span.count");
  const element = h("aside.incidents", { "aria-label": t("incidents") },
    h("section.panel.open-ones", {}, h("h2.panel-title", {}, t("incidents"), " ", count), open),
    h("section.panel.resolved-ones", {}, h("h2.panel-title", {}, t("resolved_recently")), resolved));

  function refresh() {
    const opened = newestFirst(state.open.values(), "opened_at");
    const closed = newestFirst(state.resolved.values(), "resolved_at").slice(0, RECENT);
    count.textContent = String(opened.length);
    element.dataset.open = String(opened.length);
    open.replaceChildren(...(opened.length ? opened.map((incident) => incidentCard(incident)) : [h("p.calm", {}, shape("green"), t("no_incidents"))]));
    resolved.replaceChildren(...(closed.length ? closed.map((incident) => incidentCard(incident)) : [h("p.quiet", {}, t("no_resolved"))]));
  }

  refresh();
  return { element, refresh };
}
