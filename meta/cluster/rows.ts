/**
 * Rows of the cluster half of the metadata: one kind byte, then what names the row.
 *
 *   L writer(u64)   lease of a writer
 *   N node id       storage node
 *   P chunk(u16)    placement map, cut into chunks
 *   R h epoch(u32) chunk(u16)   older placement map whose data is still being moved
 *   R m group(u16) node id      the node has all blocks of the group from before an epoch
 *   R s             changes that are staged
 *   R t chunk(u16)  placement map that they would make
 *   F i             facts: format of the store, id of the cluster
 *   F b             how often the metadata service has started
 *   F w             next writer id
 *   F r             written for the sake of the commit alone (`../catalogue/recount-parts.ts`)
 *
 * A value is one format byte and a MessagePack array of fields by position, append only.
 */
import { Packr } from 'msgpackr';
import { Failure } from '../../base/failure.ts';
import type { Address } from '../../base/rpc/rpc.ts';
import type { Entry } from '../engine/kv.ts';
import type { LayoutChange } from '../admin-protocol.ts';
import type { Layout } from '../protocol.ts';

/** Of the whole store: a newer one is refused at the start. */
export const STORE_FORMAT = 1;
/** Of every row in this file. */
const ROW_FORMAT = 1;
/** Bytes of the placement map in one row. */
const CHUNK_BYTES = 60_000;

const LEASE = 0x4c;
const NODE = 0x4e;
const LAYOUT = 0x50;
const FACT = 0x46;
const CHANGE = 0x52;
const OLDER = 0x68;
const MOVED = 0x6d;
const STAGED = 0x73;
const STAGED_LAYOUT = 0x74;

/* ------------------------------------------------------------------ keys */

/**
 * The row that stands while a writer's lease does. Created by openWriter, deleted by closeWriter or
 * by expiry, never rewritten in between: every commit made under a writer checks its stamp, so that
 * the deletion fences the writer, and renewals disturb nobody.
 */
export function leaseKey(writer: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = LEASE;
  key.writeBigUInt64BE(BigInt(writer), 1);
  return key;
}

/** The writer of a lease row. */
export function writerOfKey(key: Buffer): number {
  return Number(key.readBigUInt64BE(1));
}

export function nodeKey(id: string): Buffer {
  return Buffer.concat([Buffer.from([NODE]), Buffer.from(id)]);
}

export function layoutKey(chunk: number): Buffer {
  return Buffer.from([LAYOUT, chunk >> 8, chunk & 0xff]);
}

export function olderLayoutKey(epoch: number, chunk: number): Buffer {
  const key = Buffer.from([CHANGE, OLDER, 0, 0, 0, 0, chunk >> 8, chunk & 0xff]);
  key.writeUInt32BE(epoch, 2);
  return key;
}

/** Of a row of an older placement map. */
export const epochOfKey = (key: Buffer): number => key.readUInt32BE(2);

export function movedKey(group: number, node: string): Buffer {
  return Buffer.concat([Buffer.from([CHANGE, MOVED, group >> 8, group & 0xff]), Buffer.from(node)]);
}

export function moveOfKey(key: Buffer): { group: number; node: string } {
  return { group: key.readUInt16BE(2), node: key.toString('utf8', 4) };
}

export const STAGED_KEY: Buffer = Buffer.from([CHANGE, STAGED]);

export const stagedLayoutKey = (chunk: number): Buffer =>
  Buffer.from([CHANGE, STAGED_LAYOUT, chunk >> 8, chunk & 0xff]);

export const FACTS_KEY: Buffer = Buffer.from([FACT, 0x69]);
export const BOOT_KEY: Buffer = Buffer.from([FACT, 0x62]);
export const NEXT_WRITER_KEY: Buffer = Buffer.from([FACT, 0x77]);

const kindBounds = (kind: number) => ({
  start: Buffer.from([kind]),
  end: Buffer.from([kind + 1]),
});

export const LEASES = kindBounds(LEASE);
export const NODES = kindBounds(NODE);
export const LAYOUT_CHUNKS = kindBounds(LAYOUT);

const changeBounds = (kind: number) => ({
  start: Buffer.from([CHANGE, kind]),
  end: Buffer.from([CHANGE, kind + 1]),
});

export const OLDER_LAYOUTS = changeBounds(OLDER);
export const MOVED_ROWS = changeBounds(MOVED);
export const STAGED_CHUNKS = changeBounds(STAGED_LAYOUT);

/* ------------------------------------------------------------------ values */

const packr = new Packr({ useRecords: false, int64AsType: 'number' });

function encode(fields: unknown[]): Buffer {
  const body = packr.pack(fields);
  const out = Buffer.allocUnsafe(body.length + 1);
  out[0] = ROW_FORMAT;
  out.set(body, 1);
  return out;
}

/** Fields of a row. Failures: `invalid` (a newer format), `corrupt` (no such row). */
function decode(name: string, value: Buffer): unknown[] {
  const format = value[0];
  if (format !== undefined && format > ROW_FORMAT) {
    throw new Failure(
      'invalid',
      `a ${name} row has format ${format}, this version knows ${ROW_FORMAT}: start a newer version`,
    );
  }
  try {
    const fields: unknown = packr.unpack(value.subarray(1));
    if (Array.isArray(fields)) return fields;
  } catch (error) {
    throw new Failure('corrupt', `a ${name} row is not readable`, { cause: error });
  }
  throw new Failure('corrupt', `a ${name} row is not readable`);
}

function numberField(field: unknown): number {
  if (typeof field !== 'number') throw new Failure('corrupt', 'a stored field is no number');
  return field;
}

function textField(field: unknown): string {
  if (typeof field !== 'string') throw new Failure('corrupt', 'a stored field is no text');
  return field;
}

/** What is known of the store before anything else in it is read. */
export interface Facts {
  format: number;
  clusterId: string;
}

export const encodeFacts = ({ format, clusterId }: Facts): Buffer => encode([format, clusterId]);

export function decodeFacts(value: Buffer): Facts {
  const [format, clusterId] = decode('facts', value);
  return { format: numberField(format), clusterId: textField(clusterId) };
}

export const encodeCount = (count: number): Buffer => encode([count]);

/** 0 when there is no such row. */
export function decodeCount(entry: Entry | null): number {
  return entry === null ? 0 : numberField(decode('count', entry.value)[0]);
}

export const encodeLease = (name: string): Buffer => encode([name]);

export const decodeLease = (value: Buffer): string => textField(decode('lease', value)[0]);

/** What is kept of a storage node; its free space and its pulse are not worth a commit. */
export interface NodeRow {
  address: Address;
  /** As the node itself says. */
  zone: string;
  capacityBytes: number;
  /** The newest start of its disk that was seen (`NodeRegistration.generation`), and by whom. */
  generation: number | undefined;
  instance: string | undefined;
  /** The id of its disk, if that has one. */
  disk: string | undefined;
  /** Its disk is known to know the cluster, so it is blank no more. */
  joined: boolean;
  /** What an operator said instead of the node's own zone and of its capacity. */
  placedZone: string | undefined;
  weight: number | undefined;
  /** Being emptied: weight 0. */
  draining: boolean;
  /** An operator has taken it out. `leaving`: forgotten when nothing is left on it; `gone`: forgotten. */
  removal: 'none' | 'leaving' | 'gone';
  /** A blank disk is expected under this id. */
  replaced: boolean;
  /** It may hold blocks of groups that are not its own any more, because it was away. */
  leftovers: boolean;
  /** Epoch of the layout that was made without it because it was silent for too long. */
  outEpoch: number | undefined;
}

export const newNodeRow = (
  known: Pick<NodeRow, 'address' | 'zone' | 'capacityBytes'>,
): NodeRow => ({
  address: known.address,
  zone: known.zone,
  capacityBytes: known.capacityBytes,
  generation: undefined,
  instance: undefined,
  disk: undefined,
  joined: false,
  placedZone: undefined,
  weight: undefined,
  draining: false,
  removal: 'none',
  replaced: false,
  leftovers: false,
  outEpoch: undefined,
});

const REMOVALS = ['none', 'leaving', 'gone'] as const;

export const encodeNode = (row: NodeRow): Buffer =>
  encode([
    row.address,
    row.zone,
    row.capacityBytes,
    row.generation ?? null,
    row.instance ?? null,
    row.joined,
    row.placedZone ?? null,
    row.weight ?? null,
    row.draining,
    REMOVALS.indexOf(row.removal),
    row.replaced,
    row.leftovers,
    row.outEpoch ?? null,
    row.disk ?? null,
  ]);

const optional = <T>(field: unknown, read: (field: unknown) => T): T | undefined =>
  field === null || field === undefined ? undefined : read(field);

export function decodeNode(value: Buffer): NodeRow {
  const fields = decode('node', value);
  const [address, zone, capacityBytes, generation, instance, joined] = fields;
  const [placedZone, weight, draining, removal, replaced, leftovers, outEpoch, disk] =
    fields.slice(6);
  return {
    address: textField(address),
    zone: textField(zone),
    capacityBytes: numberField(capacityBytes),
    generation: optional(generation, numberField),
    instance: optional(instance, textField),
    // Rows from before this field are of nodes that have been in use.
    joined: joined !== false,
    placedZone: optional(placedZone, textField),
    weight: optional(weight, numberField),
    draining: draining === true,
    removal: REMOVALS[optional(removal, numberField) ?? 0] ?? 'none',
    replaced: replaced === true,
    leftovers: leftovers === true,
    outEpoch: optional(outEpoch, numberField),
    disk: optional(disk, textField),
  };
}

/** Staged changes, as the operator gave them. */
export const encodeStaged = (changes: readonly LayoutChange[]): Buffer =>
  encode([JSON.stringify(changes)]);

export function decodeStaged(value: Buffer): LayoutChange[] {
  const [text] = decode('staged changes', value);
  // Written by encodeStaged of this or an earlier version, under the store's own checks.
  return JSON.parse(textField(text)) as LayoutChange[];
}

/** The placement map as the values of its rows, in order. */
export function encodeLayout(layout: Layout): Buffer[] {
  const nodes = layout.nodes.map(({ id, zone, weight }) => [id, zone, weight]);
  const bytes = encode([layout.epoch, layout.groups, nodes, layout.assignment]);
  const chunks: Buffer[] = [];
  for (let from = 0; from < bytes.length; from += CHUNK_BYTES) {
    chunks.push(bytes.subarray(from, from + CHUNK_BYTES));
  }
  return chunks;
}

export function decodeLayout(chunks: readonly Buffer[]): Layout {
  const [epoch, groups, nodes, assignment] = decode('layout', Buffer.concat(chunks));
  if (!Array.isArray(nodes) || !(assignment instanceof Uint8Array)) {
    throw new Failure('corrupt', 'the layout is not readable');
  }
  return {
    epoch: numberField(epoch),
    groups: numberField(groups),
    nodes: nodes.map((node: unknown) => {
      const [id, zone, weight] = Array.isArray(node) ? (node as unknown[]) : [];
      return { id: textField(id), zone: textField(zone), weight: numberField(weight) };
    }),
    assignment: Buffer.from(assignment),
  };
}
