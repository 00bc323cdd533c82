import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../base/clock.ts';
import { Failure, type FailureKind, isFailure } from '../base/failure.ts';
import type { RpcChannel } from '../base/rpc/rpc.ts';
import {
  decodeJournalRecord,
  decodeJournalRecords,
  encodeJournalRecord,
} from './journal-record.ts';
import { openJournalStore } from './journal-store.ts';
import { createJournalClient, serveJournal } from './journal-wire.ts';
import {
  createMemoryDisk,
  createMemoryEnvironment,
  type MemoryDisk,
} from './memory-environment.ts';
import type { JournalClaim, JournalNode, JournalPosition, JournalRecord } from './protocol.ts';

const CLUSTER = 'c1';
const claimOf = (generation: number, token = 'aa'): JournalClaim => ({
  clusterId: CLUSTER,
  generation,
  token,
});
const START: JournalPosition = { sequence: 0, checksum: 0n };

function open(disk: MemoryDisk = createMemoryDisk(), freeBytes = 1e12) {
  const environment = createMemoryEnvironment({ disk });
  const store = openJournalStore({
    environment,
    clock: systemClock,
    identity: () => ({ id: 'node-1', clusterId: CLUSTER }),
    disk: () => ({ capacityBytes: 1e12, freeBytes }),
    watchdogMs: 10_000,
    die: (reason) => assert.fail(reason),
  });
  return { disk, environment, store };
}

/** Records that follow `after`, each with its number in the body. */
function records(after: JournalPosition, count: number, generation = 1): JournalRecord[] {
  const made: JournalRecord[] = [];
  for (let last = after; made.length < count; last = made.at(-1) ?? last) {
    const sequence = last.sequence + 1;
    const body = Buffer.from(`${generation}/${sequence}`);
    made.push(
      encodeJournalRecord({ sequence, generation, atMs: 1, previous: last.checksum, body }),
    );
  }
  return made;
}

const joined = (list: readonly JournalRecord[]): Buffer =>
  Buffer.concat(list.map(({ bytes }) => bytes));

const refused = (kind: FailureKind) => (error: unknown) => isFailure(error, kind);

async function bodies(node: JournalNode, from = 1): Promise<string[]> {
  const found: string[] = [];
  for (let at: number | undefined = from; at !== undefined; ) {
    const page = await node.read({ from: at, bytesMax: 200 });
    found.push(...decodeJournalRecords(page.records).map(({ body }) => body.toString()));
    at = page.next;
  }
  return found;
}

describe('a journal record', () => {
  it('comes back as it was written, and never after a byte of it has changed', () => {
    const field = fc.nat(Number.MAX_SAFE_INTEGER);
    fc.assert(
      fc.property(
        fc.record({ sequence: field, generation: field, atMs: field }, { noNullPrototype: true }),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.uint8Array({ maxLength: 100 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (fields, previous, body, at, change) => {
          const { bytes, checksum } = encodeJournalRecord({ ...fields, previous, body });
          const read = decodeJournalRecord(bytes);
          const { sequence, generation, atMs } = read;
          assert.deepEqual({ sequence, generation, atMs }, fields);
          assert.equal(read.previous, previous);
          assert.equal(read.checksum, checksum);
          assert.ok(read.body.equals(body));
          const damaged = Buffer.from(bytes);
          const index = at % damaged.length;
          damaged[index] = (damaged[index] ?? 0) ^ change;
          assert.throws(() => decodeJournalRecord(damaged), Failure);
          assert.throws(() => decodeJournalRecord(bytes.subarray(0, index)), refused('corrupt'));
        },
      ),
    );
  });
});

describe('the journal on a node', () => {
  it('keeps what it acknowledged over a crash, and nothing else', async () => {
    const { disk, environment, store } = open();
    const claim = claimOf(1);
    await store.claim(claim);
    const [first, second] = [records(START, 3), records(records(START, 3)[2] ?? START, 1)];
    await store.append({ claim, records: joined(first) });
    const lost = store.append({ claim, records: joined(second) });
    lost.catch(() => {});
    environment.crash();
    const again = open(disk).store;
    const state = await again.state();
    assert.equal(state.last.sequence, 3);
    assert.equal(state.generation, 1);
    assert.deepEqual(await bodies(again), ['1/1', '1/2', '1/3']);
  });

  it('takes a record twice without harm, and none that does not follow', async () => {
    const { store } = open();
    const claim = claimOf(1);
    await store.claim(claim);
    const list = records(START, 4);
    await store.append({ claim, records: joined(list.slice(0, 2)) });
    assert.equal((await store.append({ claim, records: joined(list.slice(0, 3)) })).sequence, 3);
    assert.equal((await store.append({ claim, records: joined(list.slice(0, 2)) })).sequence, 3);
    const stray = records({ sequence: 3, checksum: 99n }, 1);
    await assert.rejects(store.append({ claim, records: joined(stray) }), refused('conflict'));
    const gap = records({ sequence: 5, checksum: 1n }, 1);
    await assert.rejects(store.append({ claim, records: joined(gap) }), refused('conflict'));
    assert.deepEqual(await bodies(store), ['1/1', '1/2', '1/3']);
  });

  it('obeys the highest claim only, and of two with one number the first', async () => {
    const { store } = open();
    await store.claim(claimOf(2));
    await store.claim(claimOf(2));
    const list = { records: joined(records(START, 1)) };
    for (const old of [claimOf(1), claimOf(2, 'bb')]) {
      await assert.rejects(store.claim(old), refused('fenced'));
      await assert.rejects(store.append({ claim: old, ...list }), refused('fenced'));
      await assert.rejects(store.trim({ claim: old, keep: START }), refused('fenced'));
      await assert.rejects(store.truncate({ claim: old, upTo: 1 }), refused('fenced'));
    }
    await assert.rejects(store.append({ claim: claimOf(3), ...list }), refused('conflict'));
    const other = { ...claimOf(9), clusterId: 'c2' };
    await assert.rejects(store.claim(other), refused('unauthenticated'));
    await store.append({ claim: claimOf(2), ...list });
  });

  it('drops what another line holds, and begins anew where it has nothing', async () => {
    const { disk, store } = open();
    await store.claim(claimOf(1));
    const old = records(START, 5);
    await store.append({ claim: claimOf(1), records: joined(old) });
    const claim = claimOf(2);
    await store.claim(claim);
    const keep = old[2] ?? START;
    await store.trim({ claim, keep });
    const next = records(keep, 2, 2);
    await store.append({ claim, records: joined(next) });
    assert.deepEqual(await bodies(store), ['1/1', '1/2', '1/3', '2/4', '2/5']);

    const far = { sequence: 100, checksum: 7n };
    const state = await store.trim({ claim, keep: far });
    assert.deepEqual([state.base, state.last], [far, far]);
    await store.append({ claim, records: joined(records(far, 1, 2)) });
    assert.deepEqual(await bodies(open(disk).store), ['1/1', '1/2', '1/3', '2/4', '2/5', '2/101']);
  });

  it('leaves a damaged record out instead of handing it on', async () => {
    const { disk, store } = open();
    const claim = claimOf(1);
    await store.claim(claim);
    await store.append({ claim, records: joined(records(START, 3)) });
    for (const [name, row] of disk.blocks) {
      if (name.startsWith('r') && Buffer.from(name, 'latin1').readBigUInt64BE(1) === 2n) {
        row[45] = (row[45] ?? 0) ^ 1;
      }
    }
    assert.deepEqual(await bodies(open(disk).store), ['1/1', '1/3']);
    const state = disk.blocks.get('s');
    assert.ok(state);
    state[10] = (state[10] ?? 0) ^ 1;
    assert.throws(() => open(disk), refused('corrupt'));
  });

  it('takes a good record in place of a damaged one, and no other', async () => {
    const all = records(START, 6);
    const spoiled = [2, 3, 6];
    for (const order of ['one by one, from the back', 'all at once'] as const) {
      const { disk, store } = open();
      const claim = claimOf(1);
      await store.claim(claim);
      await store.append({ claim, records: joined(all) });
      for (const [name, row] of disk.blocks) {
        if (!name.startsWith('r')) continue;
        const sequence = Number(Buffer.from(name, 'latin1').readBigUInt64BE(1));
        if (spoiled.includes(sequence)) row[45] = (row[45] ?? 0) ^ 1;
      }
      assert.deepEqual(await bodies(store), ['1/1', '1/4', '1/5']);
      // Of another line: neither the record after it nor our end knows it.
      const foreign = records(START, 6, 2);
      await assert.rejects(
        store.append({ claim, records: joined(foreign.slice(2, 3)) }),
        refused('conflict'),
      );
      await assert.rejects(
        store.append({ claim, records: joined(foreign.slice(5)) }),
        refused('conflict'),
      );
      if (order === 'all at once') await store.append({ claim, records: joined(all) });
      else {
        for (const sequence of spoiled.toReversed()) {
          await store.append({ claim, records: joined(all.slice(sequence - 1, sequence)) });
        }
      }
      assert.deepEqual(await bodies(store), ['1/1', '1/2', '1/3', '1/4', '1/5', '1/6']);
      assert.equal((await store.state()).last.sequence, 6);
    }
  });

  it('drops old records and snapshots, and keeps the rest', async () => {
    const { store } = open();
    const claim = claimOf(1);
    await store.claim(claim);
    const list = records(START, 600);
    await store.append({ claim, records: joined(list) });
    await store.truncate({ claim, upTo: 590 });
    assert.equal((await bodies(store)).length, 10);
    const { base, last, bytes } = await store.state();
    assert.deepEqual([base.sequence, last.sequence], [590, 600]);
    assert.equal(bytes, joined(list.slice(590)).length);
    const snapshots = [1, 2].map((sequence) => ({ sequence, generation: 1 }));
    for (const snapshot of snapshots) {
      for (const index of [0, 1, 0xffffffff]) {
        await store.putChunk({ claim, snapshot, index, bytes: Buffer.from(`${index}`) });
      }
    }
    const [old = { sequence: 0, generation: 0 }, kept] = snapshots;
    await store.dropSnapshot({ claim, snapshot: old });
    assert.deepEqual(await store.snapshots(), [{ ...kept, chunks: [0, 1, 0xffffffff] }]);
    await assert.rejects(store.chunk({ snapshot: old, index: 0 }), refused('not-found'));
  });

  it('takes records when blocks are refused already, and nothing when there is no room at all', async () => {
    const claim = claimOf(1);
    const snapshot = { sequence: 1, generation: 1 };
    const list = { claim, records: joined(records(START, 1)) };
    const chunk = { claim, snapshot, index: 0, bytes: Buffer.alloc(10) };
    const low = open(createMemoryDisk(), 5e9).store;
    await low.claim(claim);
    await low.append(list);
    await assert.rejects(low.putChunk(chunk), refused('full'));
    const none = open(createMemoryDisk(), 1e9).store;
    await none.claim(claim);
    await assert.rejects(none.append(list), refused('full'));
  });
});

describe('the journal over the wire', () => {
  function loop(node: JournalNode | undefined): JournalNode {
    const channel: Pick<RpcChannel, 'call'> = {
      async call(method, { meta, payload }) {
        const answer = await serveJournal(node, {
          method,
          // As it arrives: plain data.
          meta: structuredClone(meta),
          payload: payload === undefined ? undefined : Buffer.from(payload),
          payloadHash: 0n,
          signal: new AbortController().signal,
        });
        const bytes = answer.payload === undefined ? undefined : Buffer.from(answer.payload);
        return { meta: answer.meta ?? null, payload: bytes, payloadHash: 0n };
      },
    };
    return createJournalClient(channel as RpcChannel, 10);
  }

  it('is the same as on the spot', async () => {
    const { store } = open();
    const far = loop(store);
    const claim = claimOf(3, 'abcd');
    assert.deepEqual(await far.claim(claim), await store.state());
    const list = records(START, 3);
    const { sequence, checksum } = list[2] ?? START;
    assert.deepEqual(await far.append({ claim, records: joined(list) }), { sequence, checksum });
    assert.deepEqual(await far.state(), await store.state());
    assert.deepEqual(await bodies(far), await bodies(store));
    const snapshot = { sequence: 3, generation: 3 };
    await far.putChunk({ claim, snapshot, index: 7, bytes: Buffer.from('chunk') });
    assert.equal((await far.chunk({ snapshot, index: 7 })).toString(), 'chunk');
    assert.deepEqual(await far.snapshots(), [{ ...snapshot, chunks: [7] }]);
    await far.dropSnapshot({ claim, snapshot });
    await far.truncate({ claim, upTo: 1 });
    const keep = { sequence: list[1]?.sequence ?? 0, checksum: list[1]?.checksum ?? 0n };
    assert.deepEqual((await far.trim({ claim, keep })).last, keep);
    assert.deepEqual(await bodies(far), ['1/2']);
    await assert.rejects(far.claim(claimOf(1)), refused('fenced'));
  });

  it('refuses what is no call of it', async () => {
    const { store } = open();
    const request = (meta: unknown) => ({
      method: 10,
      meta,
      payload: undefined,
      payloadHash: 0n,
      signal: new AbortController().signal,
    });
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.anything(),
          fc.tuple(
            fc.constantFrom(
              'claim',
              'trim',
              'append',
              'truncate',
              'putChunk',
              'dropSnapshot',
              'toString',
            ),
            fc.anything(),
            fc.anything(),
          ),
        ),
        async (meta) => {
          await assert.rejects(serveJournal(store, request(meta)), refused('invalid'));
        },
      ),
    );
    await assert.rejects(serveJournal(undefined, request(['state'])), refused('unavailable'));
  });
});
