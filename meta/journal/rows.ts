/**
 * What a journal record carries, and the journal's own rows in the store.
 *
 *   J p   position: the last record that the store contains
 *   J e   keys of rows that were written before the journal was open, and are not in it yet
 *
 * The body of a record is the rows as they are after the batch, so that applying it twice, or on top
 * of a later state, does no harm: key length u16 ‖ stored length u32 (all ones: the row goes) ‖ key ‖
 * stored (stamp ‖ value).
 */
import { Failure } from '../../base/failure.ts';
import type { JournalPosition } from '../../storage-node/protocol.ts';
import type { Write } from '../engine/group-commit.ts';
import { type KeyValueStore, STAMP_BYTES } from '../engine/kv.ts';

export const POSITION_KEY: Buffer = Buffer.from('Jp');
export const EARLY_KEY: Buffer = Buffer.from('Je');

const ROW_HEADER_BYTES = 6;
const GONE = 0xffffffff;
/** The journal's own rows have no committer. */
const NO_STAMP: Buffer = Buffer.alloc(STAMP_BYTES);

export const isOwnRow = (key: Uint8Array): boolean =>
  key.length === 2 && key[0] === 0x4a && (key[1] === 0x70 || key[1] === 0x65);

/* ------------------------------------------------------------------ body */

export function encodeRows(rows: readonly Write[]): Buffer {
  let length = 0;
  for (const { key, stored } of rows)
    length += ROW_HEADER_BYTES + key.length + (stored?.length ?? 0);
  const body = Buffer.allocUnsafe(length);
  let at = 0;
  for (const { key, stored } of rows) {
    body.writeUInt16BE(key.length, at);
    body.writeUInt32BE(stored?.length ?? GONE, at + 2);
    body.set(key, at + ROW_HEADER_BYTES);
    at += ROW_HEADER_BYTES + key.length;
    if (stored === undefined) continue;
    body.set(stored, at);
    at += stored.length;
  }
  return body;
}

/** Views into `body`. Failure `corrupt` when it is no such list. */
export function decodeRows(body: Buffer): Write[] {
  const rows: Write[] = [];
  for (let at = 0; at < body.length; ) {
    if (body.length - at < ROW_HEADER_BYTES) throw notRows();
    const keyEnd = at + ROW_HEADER_BYTES + body.readUInt16BE(at);
    const length = body.readUInt32BE(at + 2);
    const end = length === GONE ? keyEnd : keyEnd + length;
    if (end > body.length || (length !== GONE && length < STAMP_BYTES)) throw notRows();
    const key = body.subarray(at + ROW_HEADER_BYTES, keyEnd);
    rows.push({ key, stored: length === GONE ? undefined : body.subarray(keyEnd, end) });
    at = end;
  }
  return rows;
}

const notRows = (): Failure => new Failure('corrupt', 'a list of rows is not readable');

/* ------------------------------------------------------------------ own rows */

export function positionRow({ sequence, checksum }: JournalPosition): Write {
  const stored = Buffer.alloc(STAMP_BYTES + 16);
  stored.writeBigUInt64BE(BigInt(sequence), STAMP_BYTES);
  stored.writeBigUInt64BE(checksum, STAMP_BYTES + 8);
  return { key: POSITION_KEY, stored };
}

/** Undefined: the store has never been journaled. */
export async function readPosition(
  store: Pick<KeyValueStore, 'get'>,
): Promise<JournalPosition | undefined> {
  const [row] = await store.get([POSITION_KEY]);
  if (row === null || row === undefined) return undefined;
  const { value } = row;
  return { sequence: Number(value.readBigUInt64BE(0)), checksum: value.readBigUInt64BE(8) };
}

/** The names (Latin-1) of keys, as a row. */
export function earlyRow(names: Iterable<string>): Write {
  const keys = [...names].map((name) => ({ key: Buffer.from(name, 'latin1'), stored: NO_STAMP }));
  return { key: EARLY_KEY, stored: Buffer.concat([NO_STAMP, encodeRows(keys)]) };
}

export async function readEarly(store: Pick<KeyValueStore, 'get'>): Promise<Set<string>> {
  const [row] = await store.get([EARLY_KEY]);
  const keys = row === null || row === undefined ? [] : decodeRows(row.value);
  return new Set(keys.map(({ key }) => Buffer.from(key).toString('latin1')));
}
