// Figures for people. Pure.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"];

/** 1234567 → "1,234,567" */
export const integer = (number) => whole.format(number ?? 0);

/** 1234567 → "1.23 M"; up to 9,999 in full. */
export function short(number) {
  const size = Math.abs(number ?? 0);
  if (size < 10_000) return whole.format(number ?? 0);
  for (const [limit, unit] of [[1e6, "k"], [1e9, "M"], [1e12, "G"], [Infinity, "T"]]) {
    if (size < limit * 0.9995) {
      const value = number / (limit === Infinity ? 1e12 : limit / 1000);
      return `${digits(value)} ${unit}`;
    }
  }
  return whole.format(number);
}

/** Three significant digits, without trailing zeros. */
function digits(value) {
  return String(Number(value.toPrecision(3)));
}

/** Bytes in units of 1,000, as the API counts them (contract 0.6). */
export function bytes(number) {
  let value = number ?? 0;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(value) : digits(value)} ${UNITS[unit]}`;
}

/** Something a second. */
export function rate(number) {
  if (!Number.isFinite(number) || number <= 0) return "0/s";
  if (number < 10) return `${digits(number)}/s`;
  return `${short(Math.round(number))}/s`;
}

/** A share as a percentage that says 100 only for the whole, and 0 only for nothing. */
export function percent(part, total) {
  if (!(total > 0)) return "0 %";
  const value = (part / total) * 100;
  if (value > 0 && value < 1) return "< 1 %";
  if (value > 99 && value < 100) return "99 %";
  return `${Math.round(value)} %`;
}

/** Milliseconds: "340 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(ms) {
  if (!Number.isFinite(ms) || ms < 0) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const parts = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => seconds >= size);
  const [size, unit] = parts[first];
  const rest = parts[first + 1];
  const left = rest ? Math.floor((seconds % size) / rest[0]) : 0;
  const text = `${Math.floor(seconds / size)} ${unit}`;
  return left > 0 ? `${text} ${left} ${rest[1]}` : text;
}

/** How long ago, coarsely, so that it need not be drawn anew all the time. */
export function ago(iso, now) {
  const ms = now - Date.parse(iso);
  if (!Number.isFinite(ms)) return "–";
  if (ms < 5_000) return "now";
  if (ms < 60_000) return `${Math.floor(ms / 10_000) * 10 || 5} s ago`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.floor(ms / 3_600_000)} h ago`;
  return `${Math.floor(ms / 86_400_000)} d ago`;
}

/** A point in time, in the zone of the reader. */
export function time(iso) {
  const at = new Date(iso ?? NaN);
  if (Number.isNaN(at.getTime())) return "–";
  const two = (number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** "completed_by_timeout" → "completed by timeout" */
export const words = (name) => String(name ?? "").replaceAll("_", " ").toLowerCase();

/** The beginning of a UUID, enough to tell a few apart. The last part: ids of one day begin alike. */
export const shortId = (id) => String(id ?? "").slice(-12);

/** "1 batch", "2 batches" */
export function count(number, one, many = `${one}s`) {
  return `${integer(number)} ${number === 1 ? one : many}`;
}
