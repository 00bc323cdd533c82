/**
 * How the calls of a storage node travel: method numbers and their meta and payload. The hot methods
 * carry fixed-size byte strings, read by hand; every shape is checked, and a wrong one is Failure
 * `invalid`. Integers are big endian.
 *
 *   method    request                                       response
 *   put       meta: key; payload: content                   nothing
 *   get       meta: key, or key ‖ start u32 ‖ end u32       meta: length u32 ‖ checksum u64; payload
 *   has       payload: keys                                 payload: a byte per key, 0 or 1
 *   delete    payload: keys                                 nothing
 *   restore   as put                                        nothing
 *   list      meta: group u16 ‖ limit u16 [‖ after: key]    payload: entries of key ‖ length u32 ‖ checksum u64
 *   stats     nothing                                       meta: NodeStats
 *   health    nothing                                       meta: NodeHealth
 *   verify    meta: group u16 ‖ bytesMax u32 [‖ after: key]  meta: blocks u32 ‖ bytes u32 [‖ next: key];
 *                                                           payload: keys of corrupt blocks
 *   journal   see journal-wire.ts
 */
import { Failure } from '../base/failure.ts';
import { methodTable } from '../base/rpc/method-table.ts';
import type { RpcLimits, RpcMessage, RpcMeta } from '../base/rpc/rpc.ts';
import {
  BLOCK_KEY_BYTES,
  type BlockKey,
  type BlockRange,
  decodeBlockKey,
  encodeBlockKey,
  JOURNAL_BYTES_MAX,
  KEYS_PER_CALL_MAX,
  type ListedBlock,
  type NodeHealth,
  type NodeStats,
  type StoreFill,
  VERIFY_BYTES_MAX,
  type VerifiedPage,
} from './protocol.ts';
import type { StoredBlock, StoredPage } from './store.ts';

export const METHODS = methodTable([
  'put',
  'get',
  'has',
  'delete',
  'restore',
  'list',
  'stats',
  'health',
  'verify',
  'journal',
]);

/** Limits for the channel and the server of a storage node. */
export const STORAGE_NODE_RPC_LIMITS: RpcLimits = {
  metaBytesMax: 4096,
  payloadBytesMax: JOURNAL_BYTES_MAX,
};

const RANGE_BYTES = 8;
const ENTRY_BYTES = BLOCK_KEY_BYTES + 12;

/* ------------------------------------------------------------------ keys */

export function decodeKey(meta: RpcMeta): Buffer {
  return bytesOf(meta, BLOCK_KEY_BYTES);
}

export function encodeKeys(keys: readonly BlockKey[]): Buffer {
  if (keys.length > KEYS_PER_CALL_MAX) {
    throw invalid(`at most ${KEYS_PER_CALL_MAX} keys per call, not ${keys.length}`);
  }
  return Buffer.concat(keys.map(encodeBlockKey));
}

export function decodeKeys(payload: Buffer | undefined): Buffer[] {
  const bytes = payload ?? Buffer.alloc(0);
  const count = bytes.length / BLOCK_KEY_BYTES;
  if (!Number.isInteger(count) || count > KEYS_PER_CALL_MAX) throw invalid('not a list of keys');
  return Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * BLOCK_KEY_BYTES, (index + 1) * BLOCK_KEY_BYTES),
  );
}

/* ------------------------------------------------------------------ get */

export function encodeGet(key: BlockKey, range: BlockRange | undefined): Buffer {
  const encoded = encodeBlockKey(key);
  if (range === undefined) return encoded;
  const meta = Buffer.allocUnsafe(BLOCK_KEY_BYTES + RANGE_BYTES);
  meta.set(encoded, 0);
  meta.writeUInt32BE(u32(range.start), BLOCK_KEY_BYTES);
  meta.writeUInt32BE(u32(range.end), BLOCK_KEY_BYTES + 4);
  return meta;
}

export function decodeGet(meta: RpcMeta): { key: Buffer; range: BlockRange | undefined } {
  const bytes = bytesOf(meta, BLOCK_KEY_BYTES, BLOCK_KEY_BYTES + RANGE_BYTES);
  if (bytes.length === BLOCK_KEY_BYTES) return { key: bytes, range: undefined };
  const start = bytes.readUInt32BE(BLOCK_KEY_BYTES);
  const end = bytes.readUInt32BE(BLOCK_KEY_BYTES + 4);
  return { key: bytes.subarray(0, BLOCK_KEY_BYTES), range: { start, end } };
}

export function encodeFound(length: number, checksum: bigint): Buffer {
  const meta = Buffer.allocUnsafe(12);
  meta.writeUInt32BE(length, 0);
  meta.writeBigUInt64BE(checksum, 4);
  return meta;
}

export function decodeFound(meta: RpcMeta): { length: number; checksum: bigint } {
  const bytes = bytesOf(meta, 12);
  return { length: bytes.readUInt32BE(0), checksum: bytes.readBigUInt64BE(4) };
}

/* ------------------------------------------------------------------ has, list */

export function encodeFlags(flags: readonly boolean[]): Buffer {
  return Buffer.from(flags.map((flag) => (flag ? 1 : 0)));
}

export function decodeFlags(payload: Buffer | undefined, count: number): boolean[] {
  const bytes = payload ?? Buffer.alloc(0);
  if (bytes.length !== count) throw invalid(`expected ${count} flags, not ${bytes.length}`);
  return [...bytes].map((byte) => byte === 1);
}

export interface ListMeta {
  group: number;
  limit: number;
  after: Buffer | undefined;
}

export function encodeList(group: number, limit: number, after: BlockKey | undefined): Buffer {
  if (!(group >= 0 && group <= 0xffff && limit >= 1 && limit <= 0xffff)) {
    throw invalid('a group and a limit are 16-bit numbers');
  }
  const meta = Buffer.allocUnsafe(4);
  meta.writeUInt16BE(group, 0);
  meta.writeUInt16BE(limit, 2);
  return after === undefined ? meta : Buffer.concat([meta, encodeBlockKey(after)]);
}

export function decodeList(meta: RpcMeta): ListMeta {
  const bytes = bytesOf(meta, 4, 4 + BLOCK_KEY_BYTES);
  const after = bytes.length === 4 ? undefined : bytes.subarray(4);
  return { group: bytes.readUInt16BE(0), limit: bytes.readUInt16BE(2), after };
}

export function encodeEntries(blocks: readonly StoredBlock[]): Buffer {
  const bytes = Buffer.allocUnsafe(blocks.length * ENTRY_BYTES);
  blocks.forEach(({ key, length, checksum }, index) => {
    const at = index * ENTRY_BYTES;
    bytes.set(key, at);
    bytes.writeUInt32BE(length, at + BLOCK_KEY_BYTES);
    bytes.writeBigUInt64BE(checksum, at + BLOCK_KEY_BYTES + 4);
  });
  return bytes;
}

export function decodeEntries(payload: Buffer | undefined): ListedBlock[] {
  const bytes = payload ?? Buffer.alloc(0);
  const count = bytes.length / ENTRY_BYTES;
  if (!Number.isInteger(count)) throw invalid('not a page of blocks');
  return Array.from({ length: count }, (_, index) => {
    const at = index * ENTRY_BYTES;
    return {
      key: decodeBlockKey(bytes.subarray(at, at + BLOCK_KEY_BYTES)),
      length: bytes.readUInt32BE(at + BLOCK_KEY_BYTES),
      checksum: bytes.readBigUInt64BE(at + BLOCK_KEY_BYTES + 4),
    };
  });
}

/* ------------------------------------------------------------------ verify */

const VERIFY_BYTES = 6;
const VERIFIED_BYTES = 8;

export function encodeVerify(group: number, bytesMax: number, after: BlockKey | undefined): Buffer {
  if (!(group >= 0 && group <= 0xffff && bytesMax >= 1 && bytesMax <= VERIFY_BYTES_MAX)) {
    throw invalid(`a page verifies 1 to ${VERIFY_BYTES_MAX} bytes of a group`);
  }
  const meta = Buffer.allocUnsafe(VERIFY_BYTES);
  meta.writeUInt16BE(group, 0);
  meta.writeUInt32BE(bytesMax, 2);
  return after === undefined ? meta : Buffer.concat([meta, encodeBlockKey(after)]);
}

export function decodeVerify(meta: RpcMeta): {
  group: number;
  bytesMax: number;
  after: Buffer | undefined;
} {
  const bytes = bytesOf(meta, VERIFY_BYTES, VERIFY_BYTES + BLOCK_KEY_BYTES);
  const after = bytes.length === VERIFY_BYTES ? undefined : bytes.subarray(VERIFY_BYTES);
  return { group: bytes.readUInt16BE(0), bytesMax: bytes.readUInt32BE(2), after };
}

export function encodeVerified(page: StoredPage): RpcMessage {
  const counts = Buffer.allocUnsafe(VERIFIED_BYTES);
  counts.writeUInt32BE(page.blocks, 0);
  counts.writeUInt32BE(page.bytes, 4);
  const meta = page.next === undefined ? counts : Buffer.concat([counts, page.next]);
  return { meta, payload: Buffer.concat(page.corrupt) };
}

export function decodeVerified(answer: {
  meta: RpcMeta;
  payload?: Buffer | undefined;
}): VerifiedPage {
  const bytes = bytesOf(answer.meta, VERIFIED_BYTES, VERIFIED_BYTES + BLOCK_KEY_BYTES);
  const next = bytes.length === VERIFIED_BYTES ? undefined : bytes.subarray(VERIFIED_BYTES);
  return {
    blocks: bytes.readUInt32BE(0),
    bytes: bytes.readUInt32BE(4),
    corrupt: decodeKeys(answer.payload).map(decodeBlockKey),
    next: next === undefined ? undefined : decodeBlockKey(next),
  };
}

/* ------------------------------------------------------------------ stats, health */

export function decodeStats(meta: RpcMeta): NodeStats {
  const record = recordOf(meta);
  return {
    blocks: numberIn(record, 'blocks'),
    fileBytes: numberIn(record, 'fileBytes'),
    capacityBytes: numberIn(record, 'capacityBytes'),
    freeBytes: numberIn(record, 'freeBytes'),
    full: record['full'] === true,
    store: record['store'] === undefined ? undefined : decodeFill(record['store']),
  };
}

function decodeFill(meta: RpcMeta): StoreFill {
  const record = recordOf(meta);
  return {
    usedBytes: numberIn(record, 'usedBytes'),
    limitBytes: numberIn(record, 'limitBytes'),
  };
}

export function decodeHealth(meta: RpcMeta): NodeHealth {
  const record = recordOf(meta);
  const { id, clusterId } = record;
  if (typeof id !== 'string') throw invalid('a health answer names its node');
  return {
    id,
    clusterId: typeof clusterId === 'string' ? clusterId : undefined,
    uptimeMs: numberIn(record, 'uptimeMs'),
    stats: decodeStats(record['stats']),
  };
}

/* ------------------------------------------------------------------ shapes */

const invalid = (message: string): Failure => new Failure('invalid', message);

function bytesOf(meta: RpcMeta, ...lengths: number[]): Buffer {
  if (!Buffer.isBuffer(meta) || !lengths.includes(meta.length)) {
    throw invalid(`expected ${lengths.join(' or ')} bytes of meta`);
  }
  return meta;
}

function recordOf(meta: RpcMeta): Record<string, unknown> {
  if (typeof meta !== 'object' || meta === null) throw invalid('expected a record');
  return meta as Record<string, unknown>;
}

function numberIn(record: Record<string, unknown>, name: string): number {
  const value = record[name];
  if (typeof value !== 'number') throw invalid(`expected a number as ${name}`);
  return value;
}

function u32(value: number): number {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw invalid(`not a position in a block: ${value}`);
  }
  return value;
}
