import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure, type FailureKind } from '../base/failure.ts';
import { systemClock } from '../base/clock.ts';
import type { Meta } from '../meta/protocol.ts';
import { patientMeta } from './patience.ts';

/** Fails with these kinds in turn, then answers. */
function failing(...kinds: FailureKind[]): { meta: Meta; calls: () => number } {
  let calls = 0;
  const call = (): Promise<unknown> => {
    const kind = kinds[calls++];
    return kind === undefined ? Promise.resolve('answer') : Promise.reject(new Failure(kind, kind));
  };
  const meta = { getObject: call, deleteObject: call, renewWriter: call } as unknown as Meta;
  return { meta, calls: () => calls };
}

const query = { bucket: 'bucket', key: 'key' };

test('a metadata service that comes back in time has been away for nobody', async () => {
  const { meta, calls } = failing('unavailable', 'unavailable');
  assert.equal(await patientMeta(meta, systemClock, 2000).getObject(query), 'answer');
  assert.equal(calls(), 3);
});

test('what may have been sent is never sent again', async () => {
  for (const kind of ['unknown-outcome', 'timeout', 'fenced'] as const) {
    const { meta, calls } = failing(kind);
    await assert.rejects(patientMeta(meta, systemClock, 2000).deleteObject(query), { kind });
    assert.equal(calls(), 1);
  }
  const { meta, calls } = failing('unavailable', 'unknown-outcome');
  await assert.rejects(patientMeta(meta, systemClock, 2000).deleteObject(query), {
    kind: 'unknown-outcome',
  });
  assert.equal(calls(), 2);
});

test('patience ends, with the call’s own time-out if that is shorter, or when the client has gone', async () => {
  const kinds = Array.from({ length: 1000 }, () => 'unavailable' as const);
  const meta = patientMeta(failing(...kinds).meta, systemClock, 120);
  await assert.rejects(meta.getObject(query), { kind: 'unavailable' });
  const slow = patientMeta(failing(...kinds).meta, systemClock, 1e9);
  await assert.rejects(slow.getObject(query, { timeoutMs: 120 }), { kind: 'unavailable' });
  await assert.rejects(slow.getObject(query, { signal: AbortSignal.abort() }), {
    kind: 'unavailable',
  });
});

test('loops with a pace of their own are not held up', async () => {
  const { meta, calls } = failing('unavailable');
  const marks = { lowestSequence: 1, oldestRead: 1, oldestLayout: 1 };
  const renewal = patientMeta(meta, systemClock, 1e9).renewWriter({
    writer: 1,
    marks,
    revision: 1,
  });
  await assert.rejects(renewal, { kind: 'unavailable' });
  assert.equal(calls(), 1);
});
