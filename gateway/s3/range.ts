/** Byte ranges of GET and HEAD (RFC 9110 section 14). */
import type { ByteRange } from '../object/engine.ts';
import { S3Error } from './errors.ts';

/** A Range header that is to be honoured; an absent `end` is open, `suffix` counts from the end. */
export type RangeSpec = { start: number; end?: number | undefined } | { suffix: number };

const PATTERN = /^bytes\s*=\s*(\d*)\s*-\s*(\d*)$/i;

/**
 * Reads a Range header. `undefined` means that the whole object is to be sent: no header, another
 * unit, several ranges (S3 answers them with 200 and everything), or nonsense.
 */
export function parseRange(header: string | undefined): RangeSpec | undefined {
  if (header === undefined) return undefined;
  const match = PATTERN.exec(header.trim());
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') return last === '' ? undefined : { suffix: number(last) };
  if (last === '') return { start: number(first) };
  const start = number(first);
  const end = number(last) + 1;
  return end > start ? { start, end } : undefined;
}

/** Beyond every object either way: digits that overflow must not become Infinity or lose a bit. */
function number(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1);
}

/** The bytes that a spec selects in an object of `size` bytes. Throws InvalidRange (416). */
export function resolveRange(spec: RangeSpec, size: number, header: string): ByteRange {
  if ('suffix' in spec) {
    if (spec.suffix === 0 || size === 0) throw unsatisfiable(size, header);
    return { start: Math.max(0, size - spec.suffix), end: size };
  }
  if (spec.start >= size) throw unsatisfiable(size, header);
  return { start: spec.start, end: Math.min(spec.end ?? size, size) };
}

/** `bytes 0-9/100`. Not for empty ranges: they cannot be written. */
export function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`;
}

function unsatisfiable(size: number, header: string): S3Error {
  return new S3Error('InvalidRange', {
    details: { RangeRequested: header, ActualObjectSize: String(size) },
    headers: { 'Content-Range': `bytes */${size}` },
  });
}
