// One drawing by uPlot: a band from lowest to p95, the median as a line, failures as bars against the right-hand axis.

import uPlot from "/static/vendor/uPlot.esm.js";
import { day } from "./times.js";
import { humanise } from "./units.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT = "12px system-ui, 'Noto Sans', sans-serif";
const two = (number) => String(number).padStart(2, "0");

/** Labels of the time axis in 24 hours; the day stands under the first label of each day. */
function timeLabels(_, splits, __, ___, spacing) {
  let before = "";
  return splits.map((at) => {
    const date = new Date(at * 1000);
    const today = day(date);
    const isNew = today !== before;
    before = today;
    if (spacing >= 86400) return today;
    const clock = `${two(date.getHours())}:${two(date.getMinutes())}${spacing < 60 ? `:${two(date.getSeconds())}` : ""}`;
    return isNew ? `${clock}\n${today}` : clock;
  });
}

function axes(plan, narrow) {
  const look = { stroke: colour("--muted"), font: FONT, ticks: { stroke: colour("--border"), width: 1 } };
  const value = { ...look, size: narrow ? 58 : 74, grid: { stroke: colour("--grid"), width: 1 }, values: (_, splits) => splits.map((split) => humanise(plan.metric, split)) };
  const time = { ...look, size: 46, space: 64, grid: { show: false }, values: timeLabels };
  const fault = { ...look, side: 1, scale: "fault", size: narrow ? 52 : 54, grid: { show: false }, values: (_, splits) => splits.map((split) => humanise("loss_ratio", split)) };
  return plan.fault ? [time, value, fault] : [time, value];
}

function series() {
  const edge = { stroke: "transparent", width: 0, points: { show: false } };
  return [
    {}, edge,
    { stroke: colour("--accent"), width: 1.75, points: { size: 5, fill: colour("--accent") } },
    edge,
    { scale: "fault", fill: colour("--fault-fill"), width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.8, 24, 2], align: 1 }) },
  ];
}

/** hooks: picked(fromSeconds, toSeconds) after a drag, back() after a double click, cursor(place or null). */
export function createPlot(box, plan, data, span, hooks) {
  const plot = new uPlot({
    width: Math.max(box.clientWidth, 200), height: Math.max(box.clientHeight, 180), legend: { show: false },
    axes: axes(plan, box.clientWidth < 500), series: series(), bands: [{ series: [3, 1], fill: colour("--band") }],
    scales: {
      x: { range: () => span() },
      y: { range: { min: { soft: 0, mode: 1, pad: 0 }, max: { pad: 0.12, soft: 0, mode: 2 } } },
      fault: { range: [0, 1] },
    },
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 8 }, bind: { dblclick: () => () => { hooks.back(); return null; } } },
    hooks: {
      setCursor: [(self) => hooks.cursor(self.cursor.idx ?? null)],
      setSelect: [(self) => {
        const { left, width } = self.select;
        if (width > 6) hooks.picked(self.posToVal(left, "x"), self.posToVal(left + width, "x"));
        if (width) self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      }],
    },
  }, data, box);
  const observer = new ResizeObserver(() => plot.setSize({ width: Math.max(box.clientWidth, 200), height: Math.max(box.clientHeight, 180) }));
  observer.observe(box);
  return { setData: (next) => plot.setData(next), destroy: () => { observer.disconnect(); plot.destroy(); } };
}
