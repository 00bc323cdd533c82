/**
 * How a record becomes a row's value: one format byte, then a MessagePack array of its fields by
 * position. Fields are only ever appended; what a newer version appended is kept when an older one
 * rewrites the row. Nothing is shared between rows, so each can be read, exported and moved alone.
 */
import { Packr, Unpackr } from 'msgpackr';
import type { BlobId } from '../../base/ids.ts';
import { Failure } from '../../base/failure.ts';

export interface Codec<T> {
  encode: (value: T) => Buffer;
  /** Throws Failure `internal` for a newer format, `corrupt` for bytes that are no such record. */
  decode: (bytes: Buffer) => T;
}

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false, int64AsType: 'number' });

/** Fields that this version does not know, behind those that it does. Copied by object spread. */
const TAIL: unique symbol = Symbol('fields of a newer version');

export interface Layout<T extends object> {
  /** For messages. */
  name: string;
  /** The newest format that this code reads, and the one that it writes. */
  format: number;
  /** How many fields there are today: what lies behind them is a newer version's. */
  count: number;
  /** The last ones may be left out when they are absent, which reads as from an older version. */
  fields(value: T): unknown[];
  /** `fields` may be shorter than today's, from a row of an older version. */
  record(fields: readonly unknown[]): T;
}

export function defineCodec<T extends object>(layout: Layout<T>): Codec<T> {
  const { name, format } = layout;
  return {
    encode(value) {
      const fields = layout.fields(value);
      const tail = (value as { [TAIL]?: unknown[] })[TAIL];
      const body = packr.pack(tail === undefined ? fields : withTail(layout, fields, tail));
      const out = Buffer.allocUnsafe(body.length + 1);
      out[0] = format;
      out.set(body, 1);
      return out;
    },
    decode(bytes) {
      const found = bytes[0];
      if (found === undefined) throw new Failure('corrupt', `an empty ${name} row`);
      if (found > format) {
        throw new Failure(
          'internal',
          `a ${name} row has format ${found}, this version of Ashlar knows formats up to ${format}: upgrade it`,
        );
      }
      const fields: unknown = unpack(name, bytes);
      if (!Array.isArray(fields)) throw new Failure('corrupt', `a ${name} row is not an array`);
      const value = layout.record(fields);
      if (fields.length > layout.count) {
        (value as { [TAIL]?: unknown[] })[TAIL] = fields.slice(layout.count);
      }
      return value;
    },
  };
}

function withTail({ count }: { count: number }, fields: unknown[], tail: unknown[]): unknown[] {
  const left = Array.from({ length: count - fields.length }, () => null);
  return [...fields, ...left, ...tail];
}

function unpack(name: string, bytes: Buffer): unknown {
  try {
    return unpackr.unpack(bytes.subarray(1));
  } catch (error) {
    throw new Failure('corrupt', `a ${name} row is not readable`, { cause: error });
  }
}

/* ------------------------------------------------------------------ fields */

function wrong(what: string): Failure {
  return new Failure('corrupt', `a stored field is not ${what}`);
}

export function number(field: unknown): number {
  if (typeof field !== 'number') throw wrong('a number');
  return field;
}

export function text(field: unknown): string {
  if (typeof field !== 'string') throw wrong('a text');
  return field;
}

export function optionalText(field: unknown): string | undefined {
  return field === null || field === undefined ? undefined : text(field);
}

export function bytes(field: unknown): Buffer {
  if (!(field instanceof Uint8Array)) throw wrong('a byte string');
  return Buffer.isBuffer(field) ? field : Buffer.from(field);
}

export function list(field: unknown): readonly unknown[] {
  if (!Array.isArray(field)) throw wrong('a list');
  return field;
}

/** An identifier in hex, stored as bytes. */
export function hex(field: unknown): string {
  return bytes(field).toString('hex');
}

export function blobId(field: unknown): BlobId {
  const found = bytes(field);
  if (found.length !== 16) throw wrong('a blob id');
  return found.toString('hex') as BlobId;
}

const PLAIN_HEX = /^(?:[0-9a-f]{2}){8,32}$/;

/** ETags and owners are mostly lower-case hex: those take half the space. */
export function packHex(value: string): string | Buffer {
  return PLAIN_HEX.test(value) ? Buffer.from(value, 'hex') : value;
}

export function unpackHex(field: unknown): string {
  return typeof field === 'string' ? field : hex(field);
}
