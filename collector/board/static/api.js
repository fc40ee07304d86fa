// The collector's HTTP API. A refusal is an ApiError with the server's own message.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function ask(path, options = {}) {
  const response = await fetch(path, { headers: { Accept: "application/json", ...options.headers }, ...options });
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    if (response.status === 401 && !options.method) dispatchEvent(new Event("nhip-sign-in"));
    throw new ApiError(response.status, body.code ?? "", body.message ?? response.statusText);
  }
  return body;
}

function send(path, method, body) {
  return ask(path, { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json", Accept: "application/json" } });
}

const part = encodeURIComponent;

export const fetchSites = () => ask("/api/v1/sites");
export const fetchSite = (site) => ask(`/api/v1/sites/${part(site)}`);
export const fetchIncidents = (state, limit) => ask(`/api/v1/incidents?state=${state}&limit=${limit}`);
export const fetchIncident = (id) => ask(`/api/v1/incidents/${part(id)}`);
export const acknowledge = (id) => send(`/api/v1/incidents/${part(id)}/acknowledge`, "POST", {});
export const fetchMe = () => ask("/api/v1/me");
export const signIn = (token) => send("/session", "POST", { token });
export const signOut = () => send("/session", "DELETE", {});

/** source: {site, node, check, target}; span: {from, to?, step?}; answers one object a metric. */
export async function fetchSeries(source, metrics, span, signal) {
  const query = new URLSearchParams({ ...source, ...span });
  for (const metric of metrics) query.append("metric", metric);
  return (await ask(`/api/v1/series?${query}`, { signal })).series;
}
