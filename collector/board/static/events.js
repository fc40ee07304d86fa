// Server-sent events, read with fetch: EventSource hides the keep-alives, and without them a dead line looks like a quiet one.

const SILENCE_MS = 25_000; // keep-alives come every 10 s
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

/** Splits a stream's text into events; feed() answers the whole ones and keeps the rest. */
export class EventParser {
  #rest = "";

  feed(text) {
    const whole = this.#rest + text;
    const half = whole.endsWith("\r") ? "\r" : ""; // perhaps the first half of a line's end
    const blocks = whole.slice(0, whole.length - half.length).replace(/\r\n?/g, "\n").split("\n\n");
    this.#rest = blocks.pop() + half;
    return blocks.map(readBlock).filter((event) => event.data);
  }
}

function readBlock(block) {
  const event = { name: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (field === "event") event.name = value;
    if (field === "data") event.data += value;
  }
  return event;
}

async function listen(path, hooks, abort) {
  let watchdog = 0;
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    hooks.news();
  };
  try {
    const response = await fetch(path, { headers: { Accept: "text/event-stream" }, signal: abort.signal });
    if (!response.ok) return response.status;
    alive();
    hooks.opened();
    const parser = new EventParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 200;
      alive();
      for (const { name, data } of parser.feed(value)) hooks.event(name, JSON.parse(data));
    }
  } finally {
    clearTimeout(watchdog);
    abort.abort();
  }
}

/** Listens for ever to the address that path() gives.
 *  hooks: opened(seamless), news() for every sign of life, event(name, data), lost(status).
 *  retry() tries at once; retune() changes to a new path() without missing anything: the old stream ends when the new one is open. */
export function listenForEver(path, hooks) {
  let current = null; // the newest stream: {abort, open}
  let timer = 0;
  let tries = 0;

  async function connect() {
    clearTimeout(timer);
    const older = current;
    const mine = current = { abort: new AbortController(), open: false };
    const opened = () => {
      const seamless = Boolean(older?.open);
      mine.open = true;
      tries = 0;
      older?.abort.abort();
      hooks.opened(seamless);
    };
    const status = await listen(path(), { ...hooks, opened }, mine.abort).catch(() => 0);
    mine.open = false;
    if (mine !== current) return;
    older?.abort.abort();
    current = null;
    hooks.lost(status);
    const pause = RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
    timer = setTimeout(connect, pause);
  }

  const retry = () => {
    tries = 0;
    if (!current) connect();
  };
  addEventListener("online", retry);
  addEventListener("pagehide", () => current?.abort.abort());
  connect();
  return { retry, retune: connect };
}
