// Instants and how long ago they were. Ages are told by the server's clock: a wall screen's own may be wrong.

import { h, setText } from "./dom.js";
import { duration } from "./units.js";
import { locale, t } from "./words.js";

let offset = 0;

export function learnServerClock(now) {
  const at = Date.parse(now);
  if (!Number.isNaN(at)) offset = at - Date.now();
}

export const now = () => Date.now() + offset;
export const ageSeconds = (at) => Math.max(0, (now() - Date.parse(at)) / 1000);

const format = (at, options) => new Intl.DateTimeFormat(locale(), options).format(new Date(at));

export const zoneName = () =>
  new Intl.DateTimeFormat(locale(), { timeZoneName: "long" }).formatToParts(new Date()).find((part) => part.type === "timeZoneName").value;

export const clockTime = (at) => format(at, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const two = (number) => String(number).padStart(2, "0");

/** "22/11" in both languages: Intl's Vietnamese would say "22-11". */
export function day(at) {
  const date = new Date(at);
  return `${two(date.getDate())}/${two(date.getMonth() + 1)}`;
}

const fullDay = (at) => format(at, { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** "14:05:10", with the day before it when that is not today. */
export function moment(at) {
  const today = day(now()) === day(at);
  return today ? clockTime(at) : `${day(at)} ${clockTime(at)}`;
}

export const exactly = (at) => `${clockTime(at)}, ${fullDay(at)} (${zoneName()})`;

const LIVE = {
  ago: (seconds) => (seconds < 2 ? t("just_now") : t("ago", { age: duration(seconds) })),
  length: (seconds) => duration(seconds),
  coarse: (seconds) => duration(seconds, true),
  heard: (seconds) => t("heard", { age: LIVE.ago(seconds) }),
};

/** A <time> that keeps itself true: kind is "ago", "length", "coarse" or "heard". */
export function liveTime(at, kind) {
  return h("time", { datetime: at, title: exactly(at), "data-live": kind }, LIVE[kind](ageSeconds(at)));
}

export function fixedTime(at) {
  return h("time", { datetime: at, title: exactly(at) }, moment(at));
}

export function refreshLiveTimes() {
  for (const element of document.querySelectorAll("time[data-live]")) {
    setText(element, LIVE[element.dataset.live](ageSeconds(element.dateTime)));
  }
}
