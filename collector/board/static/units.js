// Numbers as people read them: the unit is in the metric's name.

import { locale, t } from "./words.js";

const formats = new Map();

function number(value, options) {
  const key = `${locale()} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale(), options));
  return formats.get(key).format(value);
}

const digits = (value, count = 3) => number(value, { maximumSignificantDigits: count });
const round = (value) => number(value, { maximumFractionDigits: 1 });

/** coarse: only the largest unit, where there is little room. */
export function duration(seconds, coarse = false) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return t("second", { n: whole });
  if (whole < 3600) return t("minute", { n: Math.floor(whole / 60) });
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours >= 48) return t("day", { n: Math.floor(hours / 24) });
  return t("hour", { n: hours }) + (minutes && !coarse ? ` ${t("minute", { n: minutes })}` : "");
}

function time(seconds, count) {
  const size = Math.abs(seconds);
  if (size >= 120) return duration(seconds);
  if (size >= 1) return `${digits(seconds, count)} s`;
  if (size >= 0.0001 || size === 0) return `${digits(seconds * 1e3, count)} ms`;
  return `${digits(seconds * 1e6, count)} µs`;
}

function scaled(value, base, names) {
  let size = value;
  let step = 0;
  while (Math.abs(size) >= base && step < names.length - 1) {
    size /= base;
    step += 1;
  }
  return `${digits(size)} ${names[step]}`;
}

const BOOLEANS = new Set([
  "success", "active", "reached", "up", "nic_up", "on_battery", "low_battery", "replace_battery", "black_hole",
  "path_changed", "gateway_mac_changed", "ocsp_good", "chain_trusted", "name_matches",
]);

export const isBoolean = (metric) => BOOLEANS.has(metric);

/** The value of a metric with its unit: 0.0123 of rtt_median_seconds is "12,3 ms"; absent is a dash, never 0.
 *  count: how many digits of a time are worth their room. */
export function humanise(metric, value, count = 3) {
  if (value === null || value === undefined) return "–";
  const name = metric.replace(/\[.*$/s, "");
  if (isBoolean(name)) {
    if (value === 0 || value === 1) return t(value ? "yes" : "no");
    return `${digits(value * 100)} %`;
  }
  if (name.endsWith("_ratio")) return `${round(value * 100)} %`;
  if (name.endsWith("bits_per_second")) return scaled(value, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
  if (name.endsWith("bytes_per_second")) return scaled(value, 1024, ["B/s", "KiB/s", "MiB/s", "GiB/s"]);
  if (name.endsWith("_seconds")) return time(value, count);
  if (name.endsWith("_bytes")) return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  if (name.endsWith("_celsius")) return `${round(value)} °C`;
  if (name.endsWith("_days")) return t("day", { n: round(value) });
  return Math.abs(value) >= 1000 || Number.isInteger(value) ? number(value, { maximumFractionDigits: 0 }) : digits(value);
}
