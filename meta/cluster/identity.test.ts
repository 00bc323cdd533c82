import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FailureKind, isFailure } from '../../base/failure.ts';
import type { NodeRegistration } from '../protocol.ts';
import { assertMayRegister } from './identity.ts';
import { newNodeRow, type NodeRow } from './rows.ts';

const CLUSTER = 'c1';
const said = { address: 'a:1', zone: 'z', capacityBytes: 100 };

function refusal(
  disk: Partial<NodeRegistration>,
  row?: Partial<NodeRow>,
  placed = true,
): { kind: FailureKind; message: string } | undefined {
  const registration = { id: 'n', freeBytes: 1, instance: 'now', ...said, ...disk };
  const known = { joined: true, generation: 7, instance: 'before', ...row };
  const node = row === undefined ? undefined : { row: { ...newNodeRow(said), ...known }, placed };
  try {
    assertMayRegister(registration, CLUSTER, node);
    return undefined;
  } catch (error) {
    assert.ok(isFailure(error));
    return { kind: error.kind, message: error.message };
  }
}

const ours = (generation: number | undefined, instance = 'now') => ({
  clusterId: CLUSTER,
  generation,
  instance,
});

describe('a disk that registers', () => {
  it('is taken when nobody of its name is known, blank or not', () => {
    assert.equal(refusal({}), undefined);
    assert.equal(refusal(ours(3)), undefined);
  });

  it('of another cluster is refused for good', () => {
    const found = refusal({ clusterId: 'c2' });
    assert.equal(found?.kind, 'unauthenticated');
    assert.match(
      found.message,
      /belongs to cluster c2, this is cluster c1: give the node an empty/,
    );
  });

  it('that is blank is refused where a node with data is known, until its replacement is agreed to', () => {
    const found = refusal({}, {});
    assert.equal(found?.kind, 'conflict');
    assert.match(found.message, /its disk is blank.*mount it.*ashlar node replace n/);
    assert.equal(refusal({}, { replaced: true }), undefined);
  });

  it('that is blank is taken where nothing is lost by it', () => {
    assert.equal(refusal({}, {}, false), undefined);
    assert.equal(refusal({}, { removal: 'gone' }), undefined);
    // It crashed before it could note the cluster, or has not heard the answer.
    assert.equal(refusal({}, { joined: false }), undefined);
    assert.equal(refusal({ disk: 'a' }, { joined: false, disk: 'a' }), undefined);
    assert.equal(refusal({ disk: 'a' }, { joined: false, disk: 'b' })?.kind, 'conflict');
    assert.equal(refusal({ instance: 'before' }, {}), undefined);
  });

  it('that is an old copy is refused for good, and so is a second one of the same start', () => {
    assert.equal(refusal(ours(8), {}), undefined);
    assert.equal(refusal(ours(7, 'before'), {}), undefined);
    for (const disk of [ours(6), ours(7)]) {
      const found = refusal(disk, {});
      assert.equal(found?.kind, 'invalid');
      assert.match(found.message, /is an old copy.*Start the node on its present disk/);
    }
    assert.equal(refusal(ours(undefined), {}), undefined);
    assert.equal(refusal(ours(1), { generation: undefined }), undefined);
  });

  it('that another one has taken the place of is refused for good, however often it was started', () => {
    const found = refusal({ ...ours(9), disk: 'old' }, { disk: 'new' });
    assert.equal(found?.kind, 'invalid');
    assert.match(found.message, /is on a disk that was replaced.*give it an id of its own/);
    assert.equal(refusal({ ...ours(8), disk: 'new' }, { disk: 'new' }), undefined);
    // Disks from before they had ids, and the old one while its replacement is still expected.
    assert.equal(refusal({ ...ours(8), disk: 'new' }, {}), undefined);
    assert.equal(refusal(ours(8), { disk: 'new' }), undefined);
    assert.equal(refusal({ ...ours(8), disk: 'old' }, { disk: 'old', replaced: true }), undefined);
  });

  it('of a removed node is refused for good', () => {
    const found = refusal(ours(9), { removal: 'gone' });
    assert.equal(found?.kind, 'fenced');
    assert.match(
      found.message,
      /was removed from the cluster.*start the node with an empty folder/,
    );
  });
});
