// The list of batches as events tell it, and what is seen of it. Pure: times are passed in.

/** Throughput is a mean over so long. */
export const WINDOW = 10_000;

/** How fast a number grew lately. */
export class Speed {
  constructor() {
    this.samples = [];
  }

  note(at, value) {
    const last = this.samples.at(-1);
    // A number that shrank began anew.
    if (last && value < last[1]) this.samples = [];
    if (last && last[1] === value && this.samples.length > 1) return;
    this.samples.push([at, value]);
    this.#forget(at);
  }

  #forget(now) {
    // The newest one before the window says where the window begins.
    while (this.samples.length > 1 && this.samples[1][0] <= now - WINDOW) this.samples.shift();
  }

  /** A second. */
  at(now) {
    this.#forget(now);
    if (this.samples.length < 2) return 0;
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    const span = Math.min(WINDOW, now - first[0]);
    return span > 0 ? ((last[1] - first[1]) / span) * 1000 : 0;
  }
}

/** A curve shows so many seconds: the fewest that hold all values. */
const SPANS = [30, 60, 120, 300, 600];

/** A value each second, of the last ten minutes. */
export class History {
  constructor() {
    this.values = [];
  }

  add(value) {
    this.values.push(value);
    if (this.values.length > SPANS.at(-1)) this.values.shift();
  }

  /** How many seconds a curve of these values shows. */
  get seconds() {
    return SPANS.find((span) => this.values.length <= span);
  }
}

/** The end of an axis for values up to `most`: 1, 2 or 5 with zeros, so that its half is a round number as well. At least 10. */
export function ceiling(most) {
  for (let power = 10; ; power *= 10) {
    const found = [1, 2, 5].find((digit) => !(digit * power < most));
    if (found) return found * power;
  }
}

const TERMINAL = ["completed", "completed_by_timeout", "failed", "cancelled"];
const OPEN = ["created", "pending", "in_progress"];

export const isTerminal = (status) => TERMINAL.includes(status);
export const isOpen = (status) => OPEN.includes(status);

/** The tone of a state: what needs a person stands out. */
export function tone(status) {
  if (status === "failed") return "bad";
  if (status.startsWith("completed")) return "good";
  if (status === "in_progress") return "run";
  if (status === "closed_by_timeout") return "warn";
  return "";
}

/** How far a batch is: a share of its chunks, for those that have any. */
export function share(line) {
  if (line.chunks_submitted > 0) return line.chunks_completed / line.chunks_submitted;
  return isTerminal(line.batch_status) ? 1 : 0;
}

/** The names of the views of the list, and what belongs to each. */
export const VIEWS = {
  live: ["Live", (line) => !isTerminal(line.batch_status)],
  failing: ["With failures", (line) => line.chunks_failed > 0 || line.records_failed > 0 || line.batch_status === "failed"],
  blocked: ["Waiting for a pull", (line) => line.pipeline_status === "blocked"],
  paused: ["Paused", (line) => line.paused],
  ended: ["Ended within the hour", (line) => isTerminal(line.batch_status)],
  all: ["All", () => true],
};

const COLUMNS = {
  service: (line) => line.service_uri.toLowerCase(),
  state: (line) => line.batch_status,
  progress: share,
  failed: (line) => line.chunks_failed,
  speed: (line, list, now) => list.speed(line.id, now),
  backlog: (line) => line.chunks_submitted - line.chunks_completed,
  workers: (line) => line.workers_in_use,
  created: (line) => line.created_timestamp,
};

export class BatchList {
  constructor() {
    this.lines = new Map();
    this.speeds = new Map();
  }

  /** Takes an event `batches`, and gives the changes of state that people should hear of. */
  apply(event, now) {
    const heard = [];
    for (const line of event.batches) {
      const before = this.lines.get(line.id);
      if (before && before.batch_status !== line.batch_status && isTerminal(line.batch_status)) heard.push(line);
      this.lines.set(line.id, line);
      if (!this.speeds.has(line.id)) this.speeds.set(line.id, new Speed());
      this.speeds.get(line.id).note(now, line.records_completed);
    }
    if (event.ids) {
      const ids = new Set(event.ids);
      for (const id of this.lines.keys()) if (!ids.has(id)) this.#drop(id);
    }
    for (const id of event.gone ?? []) this.#drop(id);
    return heard;
  }

  #drop(id) {
    this.lines.delete(id);
    this.speeds.delete(id);
  }

  /** Records a second of one batch. */
  speed(id, now) {
    return this.speeds.get(id)?.at(now) ?? 0;
  }

  totals(now) {
    const sum = { live: 0, blocked: 0, paused: 0, failing: 0, speed: 0, waiting: 0, records: 0, workers: 0, input: 0, output: 0 };
    for (const line of this.lines.values()) {
      sum.speed += this.speed(line.id, now);
      if (VIEWS.failing[1](line)) sum.failing += 1;
      sum.output += line.output_buffer_used_bytes;
      if (isTerminal(line.batch_status)) continue;
      sum.live += 1;
      sum.blocked += line.pipeline_status === "blocked" ? 1 : 0;
      sum.paused += line.paused ? 1 : 0;
      sum.waiting += line.chunks_submitted - line.chunks_completed;
      sum.records += line.records_submitted - line.records_completed;
      sum.workers += line.workers_in_use;
      sum.input += line.input_buffer_used_bytes;
    }
    return sum;
  }

  /** One page of what is asked for: `{rows, total, page, pages}`. */
  page({ view, text, sort, descending, page, size }, now) {
    const wanted = text.trim().toLowerCase();
    const belongs = VIEWS[view]?.[1] ?? VIEWS.all[1];
    const found = [...this.lines.values()].filter((line) => belongs(line) && (wanted === "" || matches(line, wanted)));
    const key = COLUMNS[sort] ?? COLUMNS.created;
    const keyed = found.map((line) => [key(line, this, now), line]);
    const sign = descending ? -1 : 1;
    keyed.sort(([a, first], [b, second]) => {
      if (a !== b) return a < b ? -sign : sign;
      // Ids are in the order of creation: equal rows keep their places.
      return first.id < second.id ? 1 : -1;
    });
    const pages = Math.max(1, Math.ceil(found.length / size));
    const at = Math.min(Math.max(1, page), pages);
    return { rows: keyed.slice((at - 1) * size, at * size).map(([, line]) => line), total: found.length, page: at, pages };
  }
}

function matches(line, text) {
  return [line.service_uri, line.id, line.created_by, line.correlation_id ?? "", line.batch_status.replaceAll("_", " "), line.paused ? "paused" : ""].some((field) =>
    field.toLowerCase().includes(text),
  );
}

/** The changes of a form: what is asked for and is not so already. Empty fields of numbers ask for nothing, but where `null` is a value. */
export function changes(before, wanted) {
  const changed = {};
  for (const [name, value] of Object.entries(wanted)) {
    if (value === undefined || value === before[name]) continue;
    changed[name] = value;
  }
  return changed;
}
