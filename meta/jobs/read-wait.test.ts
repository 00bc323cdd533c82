import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeBlobId } from '../../base/ids.ts';
import { Leases } from '../cluster/leases.ts';
import { Reclamation } from '../cluster/reclamation.ts';
import { ReadWait } from './read-wait.ts';

const key = (sequence: number) => ({ group: 1, blob: makeBlobId(1, sequence), index: 0 });
const marks = (oldestRead: number) => ({ lowestSequence: 1, oldestRead, oldestLayout: 1 });

test('a block that nothing refers to stays until every read has begun after it was found so', () => {
  const leases = new Leases(10_000);
  leases.opened(1, 'g', 0);
  const reclamation = new Reclamation<never>(100);
  const wait = new ReadWait({ leases, reclamation });
  leases.renew(1, marks(100), 0);
  assert.deepEqual(wait.released('n1', [key(1)]), []);
  // A read from before goes on.
  assert.deepEqual(wait.released('n1', [key(1)]), []);
  assert.deepEqual(wait.released('n2', [key(1)]), []);
  leases.renew(1, marks(101), 0);
  assert.deepEqual(wait.released('n1', [key(1), key(2)]), [key(1)]);
  assert.deepEqual(wait.released('n2', [key(1)]), [], 'the other node was asked about later');
  leases.renew(1, marks(reclamation.epoch), 0);
  assert.deepEqual(wait.released('n1', [key(2)]), [key(2)]);
  assert.deepEqual(wait.released('n2', [key(1)]), [key(1)]);
});

test('nothing goes while a lease has not reported', () => {
  const leases = new Leases(10_000);
  leases.opened(1, 'g', 0);
  const wait = new ReadWait({ leases, reclamation: new Reclamation<never>(100) });
  for (let round = 0; round < 3; round++) assert.deepEqual(wait.released('n1', [key(1)]), []);
});
