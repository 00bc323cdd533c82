import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import { checkStoreInChild } from './check.ts';
import { STAMP_BYTES } from './kv.ts';
import { openLmdbStore } from './lmdb.ts';

const mapSizeBytes = 2 ** 30;
const folder = mkdtempSync(join(tmpdir(), 'ashlar-check-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the check after an unclean stop', () => {
  it('reads every row up to its bound, and the ends of every kind beyond it', async () => {
    const clock = systemClock;
    const store = openLmdbStore({
      folder,
      mapSizeBytes,
      watchdogMs: 10_000,
      clock,
      floorBytes: 0,
      die: (reason) => assert.fail(reason),
    });
    for (let from = 0; from < 12_000; from += 2000) {
      const set = Array.from({ length: 2000 }, (_, n) => ({
        key: Buffer.from(`${(from + n) % 2 === 0 ? 'a' : 'o'}${from + n}`),
        value: Buffer.alloc(100),
      }));
      const id = Buffer.alloc(STAMP_BYTES, from);
      await store.commit({ id, checks: [], set, del: [], add: [] });
    }
    await store.close();
    const rows = (rowsMax: number) => checkStoreInChild({ folder, mapSizeBytes, rowsMax });
    assert.equal(await rows(20_000), 12_000);
    // Two kinds, both ends, whole pages of 1,000.
    assert.equal(await rows(8000), 4000);
  });

  it('answers corrupt when the file cannot be read', async () => {
    truncateSync(join(folder, 'data.mdb'), 100_000);
    await assert.rejects(
      checkStoreInChild({ folder, mapSizeBytes, rowsMax: 20_000 }),
      (error) => isFailure(error, 'corrupt') && /is damaged/.test(error.message),
    );
  });
});
