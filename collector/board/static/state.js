// What the page knows, and who wants to hear when it changes.

export const LEVELS = ["red", "yellow", "unknown", "green"];

export const state = {
  sites: new Map(), // site id -> SITE
  open: new Map(), // incident id -> INCIDENT
  resolved: new Map(),
  me: { role: "viewer", signed_in: false },
  connection: "connecting", // connecting | live | lost
  lastNewsAt: null, // performance.now() of the last sign of life
  loaded: false,
};

const listeners = new Map();

/** Calls listener at each such change; answers a function that ends it. */
export function on(kind, listener) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(listener);
  return () => listeners.get(kind).delete(listener);
}

export function tell(kind, data) {
  for (const listener of [...(listeners.get(kind) ?? [])]) listener(data);
}

export function keepSite(site) {
  state.sites.set(site.site, site);
}

/** Files an incident under open or resolved; answers "opened", "resolved" or "changed". */
export function keepIncident(incident) {
  const wasOpen = state.open.has(incident.id);
  const isOpen = incident.state === "open";
  (isOpen ? state.resolved : state.open).delete(incident.id);
  (isOpen ? state.open : state.resolved).set(incident.id, incident);
  if (isOpen && !wasOpen) return "opened";
  return !isOpen && wasOpen ? "resolved" : "changed";
}

export const newestFirst = (incidents, key) => [...incidents].sort((a, b) => Date.parse(b[key] ?? b.began_at) - Date.parse(a[key] ?? a.began_at));

export function counts() {
  const count = { green: 0, yellow: 0, red: 0, unknown: 0 };
  for (const site of state.sites.values()) count[site.level] += 1;
  return count;
}
