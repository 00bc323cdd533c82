import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isFailure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import { createManualEffects } from '../../base/testing-clock.ts';
import { STAMP_BYTES } from '../engine/kv.ts';
import { createMemoryStore } from '../engine/memory.ts';
import type { NodeRegistration } from '../protocol.ts';
import { openCluster } from './cluster.ts';
import { nodesOfGroup } from './layout.ts';
import { encodeFacts, FACTS_KEY, leaseKey } from './rows.ts';

const marks = { lowestSequence: 1, oldestRead: 0, oldestLayout: 0 };
const failing = (kind: Parameters<typeof isFailure>[1]) => (error: unknown) =>
  isFailure(error, kind as never);

function registration(n: number, changes: Partial<NodeRegistration> = {}): NodeRegistration {
  return {
    id: `node-${n}`,
    address: `127.0.0.1:${9000 + n}`,
    zone: `zone-${n}`,
    capacityBytes: 1e12,
    freeBytes: 9e11,
    instance: `instance-${n}`,
    ...changes,
  };
}

function world(store = createMemoryStore()) {
  const effects = createManualEffects();
  const open = () => openCluster<string>({ store, effects, log: silentLog });
  return { store, effects, clock: effects.clock, open };
}

describe('the cluster', () => {
  it('keeps its id over restarts and counts them', async () => {
    const { open } = world();
    const first = await open();
    const second = await open();
    assert.equal(second.clusterId, first.clusterId);
    assert.match(first.clusterId, /^[0-9a-f]{32}$/);
    assert.deepEqual([first.boot, second.boot], [1, 2]);
    assert.ok(second.view().revision > first.view().revision);
    assert.ok(second.reclamation.epoch > first.reclamation.epoch);
  });

  it('refuses a store of a newer format and says what to do', async () => {
    const { store, open } = world();
    const value = encodeFacts({ format: 99, clusterId: 'c' });
    const set = [{ key: FACTS_KEY, value }];
    await store.commit({ id: Buffer.alloc(STAMP_BYTES), checks: [], set, del: [], add: [] });
    await assert.rejects(open(), /format 99, this version knows 1: start the newer version again/);
  });

  it('makes the first layout when the expected nodes have registered, and keeps it', async () => {
    const { open } = world();
    const cluster = await open();
    await cluster.registerNode(registration(1));
    await cluster.registerNode(registration(2));
    assert.equal(cluster.view().layout, undefined);
    const before = cluster.view().revision;
    await cluster.registerNode(registration(3));
    const { layout, revision } = cluster.view();
    assert.ok(revision > before);
    assert.equal(layout?.epoch, 1);
    assert.equal(layout.groups, 1024);
    assert.equal(new Set(nodesOfGroup(layout, 5)).size, 3);
    await cluster.registerNode(registration(4));
    assert.equal(cluster.view().layout, layout);
    assert.deepEqual(
      cluster.view().nodes.map((node) => node.id),
      ['node-1', 'node-2', 'node-3', 'node-4'],
    );
    const again = await open();
    assert.deepEqual(again.layout, layout);
    assert.deepEqual(
      again.view().nodes.map((node) => node.state),
      ['down', 'down', 'down', 'down'],
    );
  });

  it('refuses a node of another cluster and tells what to do', async () => {
    const { open } = world();
    const cluster = await open();
    await assert.rejects(
      cluster.registerNode(registration(1, { clusterId: 'ff'.repeat(16) })),
      (error) =>
        isFailure(error, 'unauthenticated') && /give the node an empty folder/.test(error.message),
    );
    const { clusterId } = await cluster.registerNode(registration(1));
    await cluster.registerNode(registration(1, { clusterId }));
  });

  it('refuses a second process with the id of a living node, and takes it when that one is down', async () => {
    const { open, clock } = world();
    const cluster = await open();
    await cluster.registerNode(registration(1));
    const other = registration(1, { instance: 'other', address: '127.0.0.1:7000' });
    await assert.rejects(cluster.registerNode(other), failing('conflict'));
    await clock.advance(4000);
    await cluster.registerNode(other);
    assert.equal(cluster.view().nodes[0]?.address, '127.0.0.1:7000');
    const beat = { id: 'node-1', freeBytes: 1, capacityBytes: 1e12, full: false };
    await assert.rejects(
      cluster.heartbeat({ ...beat, instance: 'instance-1' }),
      failing('not-found'),
    );
  });

  it('takes a restarted node at its old address at once, but not two that claim one address', async () => {
    const { open } = world();
    const cluster = await open();
    await cluster.registerNode(registration(1));
    await cluster.registerNode(registration(1, { instance: 'restarted' }));
    await assert.rejects(cluster.registerNode(registration(1)), failing('conflict'));
  });

  it('sees nodes go down and come up, with a revision for each change and none without', async () => {
    const { open, clock } = world();
    const cluster = await open();
    await cluster.registerNode(registration(1));
    const beat = {
      id: 'node-1',
      instance: 'instance-1',
      freeBytes: 9e11,
      capacityBytes: 1e12,
      full: false,
    };
    const { revision } = cluster.view();
    for (let second = 0; second < 10; second++) {
      await clock.advance(1000);
      await cluster.heartbeat(beat);
      await cluster.sweep();
    }
    assert.equal(cluster.view().revision, revision);
    for (let step = 0; step < 4; step++) {
      await clock.advance(1000);
      await cluster.sweep();
    }
    assert.equal(cluster.view().nodes[0]?.state, 'down');
    assert.ok(cluster.view().revision > revision);
    await cluster.heartbeat({ ...beat, full: true });
    assert.deepEqual([cluster.view().nodes[0]?.state, cluster.view().nodes[0]?.full], ['up', true]);
  });

  it('does not blame nodes and gateways when it stood still itself', async () => {
    const { open, clock } = world();
    const cluster = await open();
    await cluster.registerNode(registration(1));
    const { writer } = await cluster.openWriter({ name: 'g' });
    await cluster.sweep();
    await clock.advance(60_000);
    await cluster.sweep();
    assert.equal(cluster.view().nodes[0]?.state, 'up');
    await cluster.renewWriter({ writer, marks, revision: 0 });
  });

  it('gives every writer an id that no other ever had', async () => {
    const { open } = world();
    const seen = new Set<number>();
    for (let start = 0; start < 3; start++) {
      const cluster = await open();
      const leases = await Promise.all(
        Array.from({ length: 20 }, () => cluster.openWriter({ name: 'g' })),
      );
      for (const { writer } of leases) {
        assert.ok(!seen.has(writer));
        seen.add(writer);
      }
      await cluster.closeWriter({ writer: leases[0]?.writer ?? 0 });
    }
    assert.equal(seen.size, 60);
  });

  it('keeps the row of a lease unchanged while it is renewed, and deletes it at the end', async () => {
    const { open, store, clock } = world();
    const cluster = await open();
    const { writer, readEpoch, view, ttlMs } = await cluster.openWriter({ name: 'g' });
    const row = async () => (await store.get([leaseKey(writer)]))[0];
    const first = await row();
    assert.ok(first);
    for (let second = 0; second < 15; second++) {
      await clock.advance(1000);
      const { revision } = view;
      const renewed = await cluster.renewWriter({ writer, marks, revision });
      assert.deepEqual(renewed, { readEpoch });
      await cluster.sweep();
    }
    assert.ok((await row())?.stamp.equals(first.stamp));
    for (let waited = 0; waited <= ttlMs; waited += 1000) {
      await clock.advance(1000);
      await cluster.sweep();
    }
    assert.equal(await row(), null);
    await assert.rejects(cluster.renewWriter({ writer, marks, revision: 0 }), failing('fenced'));
  });

  it('fences a closed lease before it forgets it, and closing again is harmless', async () => {
    const { open, store } = world();
    const cluster = await open();
    const { writer } = await cluster.openWriter({ name: 'g' });
    assert.equal(await cluster.closeWriter({ writer }), null);
    assert.equal((await store.get([leaseKey(writer)]))[0], null);
    assert.equal(cluster.leases.count, 0);
    assert.equal(await cluster.closeWriter({ writer }), null);
  });

  it('holds the marks of a lease as long as its row cannot be deleted', async () => {
    const { open, store, clock } = world();
    const cluster = await open();
    const { writer } = await cluster.openWriter({ name: 'g' });
    await cluster.renewWriter({ writer, marks: { ...marks, oldestRead: 7 }, revision: 0 });
    await cluster.sweep();
    await store.close();
    const sweepUntilTried = async () => {
      for (let second = 0; second < 11; second++) {
        await clock.advance(1000);
        await cluster.sweep();
      }
    };
    await assert.rejects(sweepUntilTried(), failing('unavailable'));
    assert.equal(cluster.leases.oldestRead(), 7);
    await assert.rejects(cluster.renewWriter({ writer, marks, revision: 0 }), failing('fenced'));
  });

  it('gives the leases that stand a whole new time after a restart, with unknown marks', async () => {
    const { open, clock } = world();
    const before = await open();
    const { writer } = await before.openWriter({ name: 'g' });
    await before.renewWriter({ writer, marks, revision: 0 });
    assert.equal(before.leases.oldestRead(), 0);
    await clock.advance(60_000);
    const after = await open();
    assert.equal(after.leases.count, 1);
    assert.equal(after.leases.oldestRead(), undefined);
    await after.sweep();
    const renewed = await after.renewWriter({ writer, marks, revision: before.view().revision });
    assert.deepEqual(renewed.view, after.view());
    assert.equal(after.leases.oldestRead(), 0);
  });
});
