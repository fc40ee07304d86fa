// What can be drawn of a series, and how rows from the API become columns with honest gaps.

const RTT = {
  key: "rtt", metric: "rtt_median_seconds", fault: "loss_ratio",
  low: ["rtt_min_seconds", "min"], middle: ["rtt_median_seconds", "p50"], high: ["rtt_p95_seconds", "p95"],
};
const FIRST = ["rtt", "total_seconds", "connect_seconds", "query_seconds"];

/** The plans of one series, the most telling first: which metrics, which columns make the band, what counts as failing. */
export function plansOf({ metrics }) {
  const fault = metrics.includes("success") ? "success" : metrics.includes("loss_ratio") ? "loss_ratio" : null;
  const plans = metrics.filter((metric) => metric !== "success").map((metric) => ({
    key: metric, metric, fault: metric === fault ? null : fault, low: [metric, "min"], middle: [metric, "p50"], high: [metric, "p95"],
  }));
  if (metrics.includes("rtt_median_seconds")) plans.push(RTT);
  if (!plans.length) plans.push({ key: "success", metric: "success", fault: null, low: ["success", "min"], middle: ["success", "mean"], high: ["success", "mean"] });
  return plans.sort((a, b) => rank(a) - rank(b));
}

function rank(plan) {
  const place = FIRST.indexOf(plan.key);
  if (place >= 0) return place;
  return plan.key.endsWith("_seconds") ? FIRST.length : FIRST.length + 1;
}

/** The metrics to ask for: those of the plan that the series has, for a path that never answered has no RTT. */
export function metricsOf(plan, { metrics }) {
  const wanted = new Set([plan.low[0], plan.middle[0], plan.high[0], plan.fault]);
  return [...wanted].filter((metric) => metrics.includes(metric));
}

/** What to show when a site is opened: its path first. */
export function firstSeries(series) {
  const place = series.findIndex((one) => one.metrics.includes("rtt_median_seconds"));
  return Math.max(0, place);
}

/** Rows of one answered metric, by epoch second: at -> {min, p50, …}. */
export function rowsByTime({ columns, rows }) {
  return new Map(rows.map((row) => [row[0], Object.fromEntries(columns.map((name, place) => [name, row[place]]))]));
}

function typicalSpacing(times) {
  const spaces = times.slice(1).map((at, place) => at - times[place]).sort((a, b) => a - b);
  return spaces[Math.floor(spaces.length / 2)] ?? 0;
}

/** A time without any row between two others, wherever measurements are missing: lines must not cross it. */
function withGaps(times, step) {
  const widest = Math.max(1.5 * step, 2.5 * typicalSpacing(times));
  return times.flatMap((at, place) => (place && at - times[place - 1] > widest ? [times[place - 1] + step, at] : [at]));
}

/** [times, low, middle, high, fault] for a plan; tables: metric -> rowsByTime. Missing is null, never 0. */
export function columnsOf(plan, tables, step) {
  const seen = new Set([...tables.values()].flatMap((table) => [...table.keys()]));
  const times = withGaps([...seen].sort((a, b) => a - b), step);
  const read = ([metric, column]) => times.map((at) => tables.get(metric)?.get(at)?.[column] ?? null);
  const fault = plan.fault ? read([plan.fault, "mean"]) : times.map(() => null);
  const failing = plan.fault === "success" ? fault.map((value) => (value === null ? null : 1 - value)) : fault;
  return [times, read(plan.low), read(plan.middle), read(plan.high), failing];
}
