/** Numbers as people read them. */

const KIB = 1024;
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** `1.2 GiB`: three digits at most, and never more than is known. */
export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / KIB ** power;
  const digits = power === 0 || scaled >= 100 ? 0 : 1;
  return `${scaled.toFixed(digits)} ${UNITS[power]}`;
}

export const count = (value: number): string => Math.round(value).toLocaleString('en-US');

export const percent = (part: number, whole: number): string =>
  whole <= 0 ? '-' : `${((100 * part) / whole).toFixed(0)} %`;

const SPANS: readonly [unit: string, ms: number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
];

/** `2 min 5 s`, `3 d 4 h`; below a second `0.4 s`. */
export function span(ms: number): string {
  if (ms < 950) return `${(Math.max(0, ms) / 1000).toFixed(1)} s`;
  let rest = Math.round(ms / 1000) * 1000;
  const parts: string[] = [];
  for (const [unit, length] of SPANS) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole > 0) parts.push(`${whole} ${unit}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(' ');
}

/** `3 min ago`, by the clock of this machine. */
export const ago = (atMs: number | undefined, nowMs: number): string =>
  atMs === undefined ? 'never' : `${span(Math.max(0, nowMs - atMs))} ago`;

/** An amount in the unit of a job. */
export const amount = (value: number, unit: string): string =>
  unit === 'bytes' ? bytes(value) : `${count(value)} ${unit}`;
