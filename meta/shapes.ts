/**
 * Cheap checks of what a peer sent: the shape of every command before the service sees it, so that a
 * malformed one is Failure `invalid` and nothing worse. What values mean is checked by the service.
 */
import { Failure } from '../base/failure.ts';

/** Undefined: fine; otherwise what is wrong with the value. */
export type Shape = (value: unknown) => string | undefined;

/** Longest text in a command, in UTF-16 units; keys and metadata are far below. */
const TEXT_MAX = 16 * 1024;

/** A text of at most so many UTF-16 units. */
export const textUpTo =
  (max: number): Shape =>
  (value) =>
    typeof value === 'string' && value.length <= max ? undefined : 'is not a text';

export const text: Shape = textUpTo(TEXT_MAX);

/** A whole number of at least 0 that is exact. */
export const count: Shape = (value) =>
  Number.isSafeInteger(value) && (value as number) >= 0 ? undefined : 'is not a whole number';

export const size: Shape = (value) =>
  typeof value === 'number' && value >= 0 && Number.isFinite(value) ? undefined : 'is not a size';

export const time: Shape = (value) =>
  typeof value === 'number' && Number.isFinite(value) ? undefined : 'is not a time';

export const flag: Shape = (value) => (typeof value === 'boolean' ? undefined : 'is not a flag');

export const bytesUpTo =
  (max: number): Shape =>
  (value) =>
    value instanceof Uint8Array && value.length <= max ? undefined : 'is not a byte string';

const BLOB_PATTERN = /^[0-9a-f]{32}$/;
export const blobId: Shape = (value) =>
  typeof value === 'string' && BLOB_PATTERN.test(value) ? undefined : 'is not a blob id';

const NAME_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;
/** A node id or a zone. */
export const name: Shape = (value) =>
  typeof value === 'string' && NAME_PATTERN.test(value)
    ? undefined
    : 'is not 1 to 64 of letters, digits, `.`, `_` and `-`';

export const oneOf =
  (...values: readonly string[]): Shape =>
  (value) =>
    typeof value === 'string' && values.includes(value)
      ? undefined
      : `is none of ${values.join(', ')}`;

export const optional =
  (shape: Shape): Shape =>
  (value) =>
    value === undefined ? undefined : shape(value);

/** A record with these fields; others are ignored. */
export function record(fields: Readonly<Record<string, Shape>>): Shape {
  const entries = Object.entries(fields);
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is no record';
    for (const [field, shape] of entries) {
      const wrong = shape((value as Record<string, unknown>)[field]);
      if (wrong !== undefined) return `: ${field} ${wrong}`;
    }
    return undefined;
  };
}

export function listOf(shape: Shape, max: number): Shape {
  return (value) => {
    if (!Array.isArray(value) || value.length > max) return `is no list of at most ${max}`;
    for (const item of value) {
      const wrong = shape(item);
      if (wrong !== undefined) return `: an item ${wrong}`;
    }
    return undefined;
  };
}

/** A record of texts, as user metadata is. */
export const texts: Shape = (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is no record';
  for (const item of Object.values(value)) {
    const wrong = optional(text)(item);
    if (wrong !== undefined) return `: an item ${wrong}`;
  }
  return undefined;
};

/** A record whose `kind` decides which fields it has. */
export function variant(kinds: Readonly<Record<string, Shape>>): Shape {
  return (value) => {
    if (typeof value !== 'object' || value === null) return 'is no record';
    const { kind } = value as { kind?: unknown };
    const shape = typeof kind === 'string' && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
    return shape === undefined ? 'is of an unknown kind' : shape(value);
  };
}

export const anyOf =
  (...shapes: readonly Shape[]): Shape =>
  (value) =>
    shapes.some((shape) => shape(value) === undefined) ? undefined : 'has no shape that is known';

/** Throws Failure `invalid` unless the value has the shape. */
export function assertShape(method: string, shape: Shape, value: unknown): void {
  const wrong = shape(value);
  if (wrong !== undefined) throw new Failure('invalid', `a command of ${method} ${wrong}`);
}
