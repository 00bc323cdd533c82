import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../base/failure.ts';
import { encodeJournalRecord, type JournalRecord } from '../../storage-node/protocol.ts';
import type { Write } from '../engine/group-commit.ts';
import { STAMP_BYTES } from '../engine/kv.ts';
import { decodeRows, earlyRow, encodeRows, readEarly } from './rows.ts';
import {
  decodeChunk,
  decodeManifest,
  encodeChunk,
  encodeManifest,
  type Manifest,
} from './snapshot-format.ts';
import { chainFrom, choose, type JournalSource } from './source.ts';
import { Tail } from './tail.ts';

const rowsOf = fc.array(
  fc
    .tuple(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.option(fc.uint8Array({ minLength: STAMP_BYTES, maxLength: 300 }), { nil: undefined }),
    )
    .map(
      ([key, stored]): Write => ({
        key: Buffer.from(key),
        stored: stored === undefined ? undefined : Buffer.from(stored),
      }),
    ),
  { maxLength: 20 },
);
const name = { sequence: 7, generation: 3 };
const corrupt = (error: unknown): boolean => isFailure(error, 'corrupt');

function record(
  sequence: number,
  previous: bigint,
  generation = 1,
  atMs = sequence,
): JournalRecord {
  const body = Buffer.from(`${generation}/${sequence}`);
  return encodeJournalRecord({ sequence, generation, atMs, previous, body });
}

function line(start: { sequence: number; checksum: bigint }, count: number, generation = 1) {
  const made: JournalRecord[] = [];
  for (let at = start; made.length < count; at = made.at(-1) ?? at) {
    made.push(record(at.sequence + 1, at.checksum, generation));
  }
  return made;
}

describe('rows in records and snapshots', () => {
  it('come back as they were', async () => {
    await fc.assert(
      fc.asyncProperty(rowsOf, fc.nat(1000), async (rows, index) => {
        assert.deepEqual(decodeRows(encodeRows(rows)), rows);
        const chunk = await encodeChunk(name, index, rows);
        assert.deepEqual(await decodeChunk(name, index, chunk), rows);
      }),
    );
  });

  it('are refused when a chunk has changed, or turns up as another one', async () => {
    const rows: Write[] = [{ key: Buffer.from('k'), stored: Buffer.alloc(100, 7) }];
    const chunk = await encodeChunk(name, 1, rows);
    for (let at = 0; at < chunk.length; at++) {
      const bad = Buffer.from(chunk);
      bad[at] = (bad[at] ?? 0) ^ 4;
      await assert.rejects(decodeChunk(name, 1, bad), (error) =>
        isFailure(error, 'corrupt', 'invalid'),
      );
      await assert.rejects(decodeChunk(name, 1, chunk.subarray(0, at)), corrupt);
    }
    await assert.rejects(decodeChunk(name, 2, chunk), corrupt);
    await assert.rejects(decodeChunk({ ...name, generation: 4 }, 1, chunk), corrupt);
    assert.throws(() => decodeRows(Buffer.from([0, 9, 0, 0, 0, 0])), corrupt);
  });

  it('keep the names of keys that were written early', async () => {
    const names = ['a', 'ÿ\u0000b'];
    const { stored } = earlyRow(names);
    const [key, stamp] = [Buffer.from('Je'), Buffer.alloc(STAMP_BYTES)];
    const value = Buffer.from(stored ?? []).subarray(STAMP_BYTES);
    const found = await readEarly({ get: () => Promise.resolve([{ key, value, stamp }]) });
    assert.deepEqual([...found], names);
  });
});

const manifest: Manifest = {
  ...name,
  clusterId: 'c1',
  start: { sequence: 7, checksum: 99n },
  until: 9,
  atMs: 8,
  chunks: 0,
  rows: 0,
  bytes: 0,
  digest: 5n,
};

describe('the choice of what a store is made from', () => {
  const sourceOf = (manifests: Manifest[], records: JournalRecord[]): JournalSource => ({
    manifests: () => Promise.resolve(manifests),
    chunk: () => Promise.reject(new Error('not part of this test')),
    records: () => Promise.resolve(records),
  });

  it('reads a manifest as it was written', () => {
    assert.deepEqual(decodeManifest(name, encodeManifest(manifest)), manifest);
    assert.throws(
      () => decodeManifest({ ...name, sequence: 8 }, encodeManifest(manifest)),
      corrupt,
    );
  });

  it('follows the chain from the snapshot to its end, in whatever order the records come', () => {
    const records = line(manifest.start, 5);
    fc.assert(
      fc.property(fc.shuffledSubarray([...records, ...records], { minLength: 10 }), (mixed) => {
        assert.deepEqual(
          chainFrom(manifest.start, mixed).map(({ sequence }) => sequence),
          [8, 9, 10, 11, 12],
        );
      }),
    );
  });

  it('takes the record of the later opening where two claim one place', () => {
    const [first] = line(manifest.start, 1);
    assert.ok(first);
    const dropped = record(9, first.checksum, 1, 50);
    const kept = record(9, first.checksum, 2);
    const next = record(10, kept.checksum, 2);
    for (const mixed of [
      [first, dropped, kept, next],
      [next, kept, dropped, first],
    ]) {
      assert.deepEqual(
        chainFrom(manifest.start, mixed).map(({ generation }) => generation),
        [1, 2, 2],
      );
    }
  });

  it('uses no snapshot without the records that make it exact, and says what it could not use', async () => {
    const records = line(manifest.start, 4);
    const chosen = await choose(sourceOf([manifest], records));
    assert.equal(chosen.chain.length, 4);
    await assert.rejects(choose(sourceOf([manifest], records.slice(0, 1))), corrupt);
    await assert.rejects(choose(sourceOf([], records)), (error) => isFailure(error, 'not-found'));
    const gap = [...records.slice(0, 2), ...records.slice(3)];
    assert.equal((await choose(sourceOf([manifest], gap))).cutOff, 1);
    // An older snapshot that reaches further is better than a newer one that does not.
    const newer = { ...manifest, sequence: 11, start: { sequence: 11, checksum: 1n }, until: 12 };
    const best = await choose(sourceOf([newer, manifest], records));
    assert.equal(best.manifest, manifest);
  });

  it('goes back to a time, and no further than it can be exact', async () => {
    const records = line(manifest.start, 4);
    const at = async (untilMs: number) =>
      (await choose(sourceOf([manifest], records), untilMs)).chain;
    assert.equal((await at(10)).length, 3);
    assert.equal((await at(9)).length, 2);
    await assert.rejects(at(8), (error) => isFailure(error, 'not-found'));
    const still = { ...manifest, until: 7 };
    assert.equal((await choose(sourceOf([still], records), 8)).chain.length, 1);
    await assert.rejects(choose(sourceOf([still], records), 7), (error) =>
      isFailure(error, 'not-found'),
    );
  });
});

describe('the tail of the journal', () => {
  it('gives records from any place that it has, and forgets the oldest when it is long', () => {
    const tail = new Tail({ sequence: 0, checksum: 0n });
    const body = Buffer.alloc(1024 ** 2);
    for (let sequence = 1; sequence <= 60; sequence++) {
      const previous = tail.last.checksum;
      tail.push(encodeJournalRecord({ sequence, generation: 1, atMs: 0, previous, body }), 60);
      assert.equal(tail.checksum(sequence), tail.last.checksum);
    }
    const { sequence } = tail.base;
    assert.ok(sequence > 20 && sequence < 60);
    assert.equal(tail.from(sequence, 10), undefined);
    assert.equal(tail.from(sequence + 1, 10)?.readBigUInt64BE(8), BigInt(sequence + 1));
    tail.cut(59);
    assert.equal(tail.last.sequence, 59);
    // What a node still needs is not forgotten.
    const needed = new Tail({ sequence: 0, checksum: 0n });
    for (let n = 1; n <= 60; n++) {
      const previous = needed.last.checksum;
      needed.push(encodeJournalRecord({ sequence: n, generation: 1, atMs: 0, previous, body }), 0);
    }
    assert.equal(needed.base.sequence, 0);
  });
});
