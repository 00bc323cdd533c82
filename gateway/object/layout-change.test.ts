import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterView } from '../../meta/protocol.ts';
import { viewOf } from './testing/map-meta.ts';
import { bodyOf, bytesOf, createWorld, type World } from './testing/world.ts';

const OLD = ['n0', 'n1', 'n2'];
const NEW = ['n3', 'n4', 'n5'];

/** Six nodes; the layout of epoch 1 names the first three. */
async function world(): Promise<World> {
  const made = await createWorld({ nodes: 6, start: false });
  made.meta.view = { ...viewOf(OLD), nodes: made.meta.view.nodes };
  await made.clock.settle(made.running.start());
  return made;
}

/** The layout of epoch 2 names the other three. */
function changed(world: World, moving: boolean): ClusterView {
  const { layout, nodes } = world.meta.view;
  assert.ok(layout);
  const next = viewOf(NEW, { revision: 2, epoch: 2 });
  return { ...next, nodes, previous: moving ? [layout] : [] };
}

/** Takes all blocks from the old nodes to the new ones, as the metadata service's job does. */
function moveAll(world: World): void {
  for (const [at, from] of OLD.entries()) {
    const source = world.node(at);
    assert.equal(source.id, from);
    for (const [name, block] of source.blocks) {
      for (const to of [3, 4, 5]) world.node(to).blocks.set(name, block);
    }
    source.blocks.clear();
  }
}

const noted = ({ meta, running }: World): unknown => {
  const { missingReplicas } = running.status().reads;
  const { pending, repaired } = running.status().repairs;
  return { reports: meta.reports.length, missingReplicas, pending, repaired };
};
const NOTHING = { reports: 0, missingReplicas: 0, pending: 0, repaired: 0 };

test('during a change reads find blocks where they were, and call nothing missing', async () => {
  const w = await world();
  const body = bytesOf(30_000);
  await w.put('k', bodyOf(body));
  w.meta.view = changed(w, true);
  await w.clock.advance(1500);
  assert.equal(w.running.status().layoutEpoch, 2);
  assert.deepEqual(await w.get('k'), body);
  await w.clock.advance(3000);
  assert.deepEqual(noted(w), NOTHING);
  for (const at of [3, 4, 5]) assert.equal(w.node(at).blocks.size, 0);
});

test('during a change writes go by the newest layout only', async () => {
  const w = await world();
  w.meta.view = changed(w, true);
  await w.clock.advance(1500);
  const body = bytesOf(9000);
  await w.put('k', bodyOf(body));
  for (const at of [0, 1, 2]) assert.equal(w.node(at).blocks.size, 0);
  for (const at of [3, 4, 5]) assert.equal(w.node(at).blocks.size, 3);
  assert.deepEqual(await w.get('k'), body);
});

test('a gateway that has not heard of a change asks again before it calls a block lost', async () => {
  const w = await world();
  const body = bytesOf(30_000);
  await w.put('k', bodyOf(body));
  moveAll(w);
  w.meta.view = changed(w, false);
  assert.equal(w.running.status().layoutEpoch, 1);
  assert.deepEqual(await w.get('k'), body);
  assert.equal(w.running.status().layoutEpoch, 2);
  await w.clock.advance(3000);
  assert.equal(w.meta.reports.length, 0);
});

test('a read that asks the new nodes too early and the old ones too late looks once more', async () => {
  const w = await world();
  const body = bytesOf(4000);
  await w.put('k', bodyOf(body));
  w.meta.view = changed(w, true);
  await w.clock.advance(1500);
  let asked = 0;
  for (const at of [3, 4, 5]) {
    w.node(at).onGet = () => {
      asked += 1;
      // The last of the new nodes has just said no.
      if (asked === 3) queueMicrotask(() => queueMicrotask(() => moveAll(w)));
    };
  }
  assert.deepEqual(await w.get('k'), body);
  assert.ok(asked > 3);
});

test('a block that no node has is reported as lost, after one more look', async () => {
  const w = await world();
  await w.put('k', bodyOf(bytesOf(4000)));
  for (const node of w.nodes) node.blocks.clear();
  await assert.rejects(w.get('k'), /no replica of block 0/);
});

test('the older epoch is in use until the last block that goes by it has settled', async () => {
  const w = await world();
  const { promise, resolve } = Promise.withResolvers<void>();
  w.node(0).putGate = promise;
  const put = w.beginPut('k', bodyOf(bytesOf(4000)));
  await w.clock.advance(100);
  w.meta.view = changed(w, true);
  const oldest = () => [...w.meta.writers.values()].map((marks) => marks?.oldestLayout);
  await w.clock.advance(2500);
  assert.deepEqual(oldest(), [1]);
  resolve();
  await w.clock.settle(put);
  await w.clock.advance(2500);
  assert.deepEqual(oldest(), [2]);
});

test('an upload that is given up during a change leaves nothing on the new nodes either', async () => {
  const w = await world();
  async function* body(): AsyncGenerator<Uint8Array> {
    yield bytesOf(8192);
    await w.clock.sleep(2500);
    // Meanwhile its blocks have been copied to where they will belong.
    for (const [name, block] of w.node(0).blocks) w.node(3).blocks.set(name, block);
    throw new Error('the client went away');
  }
  const put = w.beginPut('k', body());
  await w.clock.advance(500);
  w.meta.view = changed(w, true);
  await assert.rejects(w.clock.settle(put), /the client went away/);
  await w.clock.advance(1000);
  assert.equal(w.stored(), 0);
});
