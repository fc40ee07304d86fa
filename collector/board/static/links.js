// Addresses inside the page, one place to make and read them.

export const siteLink = (site) => `/site/${encodeURIComponent(site)}`;
export const incidentLink = (id) => `/incident/${encodeURIComponent(id)}`;

/** {view: "wall" | "site" | "incident", id} of a path. */
export function readPath(path) {
  const [, view, id] = /^\/(site|incident)\/([^/]+)\/?$/.exec(path) ?? [];
  return view ? { view, id: decodeURIComponent(id) } : { view: "wall" };
}
