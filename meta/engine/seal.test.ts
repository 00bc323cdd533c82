import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import { type Commit, STAMP_BYTES } from './kv.ts';
import { openLmdbStore } from './lmdb.ts';
import { seal, unseal } from './seal.ts';

const folder = mkdtempSync(join(tmpdir(), 'ashlar-seal-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const corrupt = (error: unknown): boolean => isFailure(error, 'corrupt');

describe('the seal of a row', () => {
  it('gives back what was sealed, under its own key only, and nothing that has changed', () => {
    const bytes = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(bytes, bytes, bytes, fc.nat(), fc.nat(7), (key, stored, other, at, bit) => {
        const sealed = seal(key, stored);
        assert.ok(unseal(key, sealed).equals(stored));
        if (Buffer.compare(key, other) !== 0) {
          assert.throws(() => unseal(other, sealed), corrupt);
        }
        const index = at % sealed.length;
        sealed[index] = (sealed[index] ?? 0) ^ (1 << bit);
        assert.throws(() => unseal(key, sealed), corrupt);
      }),
    );
  });
});

describe('a damaged row in the file', () => {
  const open = () =>
    openLmdbStore({
      folder,
      mapSizeBytes: 2 ** 30,
      watchdogMs: 10_000,
      clock: systemClock,
      floorBytes: 0,
      die: (reason) => assert.fail(reason),
    });
  const commitOf = (n: number, parts: Partial<Commit>): Commit => {
    const id = Buffer.alloc(STAMP_BYTES, n);
    return { id, checks: [], set: [], del: [], add: [], ...parts };
  };
  const [good, bad] = [Buffer.from('good'), Buffer.from('bad')];
  const mark = 'a value that is easy to find in the file';

  it('is reported to whoever reads it, never served and never missing, and harms nobody else', async () => {
    const first = open();
    await first.commit(
      commitOf(1, {
        set: [
          { key: good, value: Buffer.from('1') },
          { key: bad, value: Buffer.from(mark) },
        ],
      }),
    );
    await first.close();
    const path = join(folder, 'data.mdb');
    const file = readFileSync(path);
    let hits = 0;
    for (let at = file.indexOf(mark); at !== -1; at = file.indexOf(mark, at + 1)) {
      file[at + 3] = (file[at + 3] ?? 0) ^ 1;
      hits += 1;
    }
    assert.ok(hits > 0);
    writeFileSync(path, file);

    const store = open();
    await assert.rejects(store.get([bad]), corrupt);
    await assert.rejects(store.get([good, bad]), corrupt);
    const [start, end] = [Buffer.from('a'), Buffer.from('z')];
    await assert.rejects(store.range({ start, end, limit: 10 }), corrupt);
    const stamp = Buffer.alloc(STAMP_BYTES, 1);
    const [refused, done] = await Promise.allSettled([
      store.commit(
        commitOf(2, {
          checks: [{ key: bad, stamp }],
          set: [{ key: bad, value: Buffer.from('2') }],
        }),
      ),
      store.commit(commitOf(3, { set: [{ key: good, value: Buffer.from('3') }] })),
    ]);
    assert.ok(refused.status === 'rejected' && corrupt(refused.reason));
    assert.equal(done.status, 'fulfilled');
    const [row] = await store.get([good]);
    assert.equal(row?.value.toString(), '3');
    // What writes it anew without looking at it makes it good.
    await store.commit(commitOf(4, { set: [{ key: bad, value: Buffer.from('4') }] }));
    const [mended] = await store.get([bad]);
    assert.equal(mended?.value.toString(), '4');
    await store.close();
  });
});
