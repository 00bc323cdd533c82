/** The records of the outbox: events, counters, and who delivers them. */
import { Failure } from '../../base/failure.ts';
import { EVENT_TYPES, type StoredEvent } from '../protocol.ts';
import {
  type Codec,
  defineCodec,
  hex,
  list,
  number,
  optionalText,
  packHex,
  text,
  unpackHex,
} from './codec.ts';

/** Its id is in the key. */
export interface EventRow extends Omit<StoredEvent, 'id'> {
  /** Of the counter that counts it. */
  lane: number;
}

export const eventCodec: Codec<EventRow> = defineCodec({
  name: 'event',
  format: 1,
  count: 16,
  fields(row) {
    const fields = [
      EVENT_TYPES.indexOf(row.type),
      row.bucket,
      row.key,
      row.versionId === undefined ? null : packHex(row.versionId),
      Buffer.from(row.version, 'hex'),
      row.size,
      packHex(row.etag),
      row.atMs,
      packHex(row.account),
      packHex(row.requestId),
      row.sourceIp,
      row.lane,
    ];
    if (row.attempts === 0 && row.notBeforeMs === 0 && row.left === undefined) return fields;
    return [...fields, row.attempts, row.notBeforeMs, row.left ?? null, row.problem ?? null];
  },
  record(fields) {
    const type = EVENT_TYPES[number(fields[0])];
    if (type === undefined) throw new Failure('corrupt', 'an event of an unknown type');
    const row: EventRow = {
      type,
      bucket: text(fields[1]),
      key: text(fields[2]),
      version: hex(fields[4]),
      size: number(fields[5]),
      etag: unpackHex(fields[6]),
      atMs: number(fields[7]),
      account: unpackHex(fields[8]),
      requestId: unpackHex(fields[9]),
      sourceIp: text(fields[10]),
      lane: number(fields[11]),
      attempts: number(fields[12] ?? 0),
      notBeforeMs: number(fields[13] ?? 0),
    };
    if (fields[3] !== null) row.versionId = unpackHex(fields[3]);
    if (fields[14] !== null && fields[14] !== undefined) row.left = list(fields[14]).map(text);
    const problem = optionalText(fields[15]);
    if (problem !== undefined) row.problem = problem;
    return row;
  },
});

interface EventLeaseRow {
  holder: string;
  untilMs: number;
}

export const eventLeaseCodec: Codec<EventLeaseRow> = defineCodec({
  name: 'event lease',
  format: 1,
  count: 2,
  fields: (row) => [row.holder, row.untilMs],
  record: (fields) => ({ holder: text(fields[0]), untilMs: number(fields[1]) }),
});

/** A counter as a step reads it, to judge by, never to write. */
export const countCodec: Codec<number> = {
  encode: () => Buffer.alloc(8),
  decode: (bytes) => Number(bytes.readBigInt64BE(0)),
};
