import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../base/log.ts';
import { createManualClock } from '../../base/testing-clock.ts';
import type { NodeView } from '../../meta/protocol.ts';
import { NodePool } from './node-pool.ts';
import { sortForReading } from './placement.ts';
import { viewOf } from './testing/map-meta.ts';
import { MapNode } from './testing/map-node.ts';

const IDS = ['n0', 'n1', 'n2'];

async function createPool() {
  const clock = createManualClock();
  const made: MapNode[] = [];
  const connect = (view: NodeView) => {
    const node = new MapNode(view.id, 'c', clock);
    made.push(node);
    return node;
  };
  const pool = new NodePool({ connect, clock, log: silentLog });
  const views = viewOf(IDS).nodes;
  pool.update('c', views);
  await clock.settle(pool.firstProbes(1000));
  const change = (id: string, difference: Partial<NodeView>) =>
    pool.update(
      'c',
      views.map((view) => (view.id === id ? { ...view, ...difference } : view)),
    );
  const client = (index: number): MapNode => {
    const node = made[index];
    assert.ok(node);
    return node;
  };
  return { clock, pool, made, client, views, change };
}

test('a client is made once per address and closed when the address changes', async () => {
  const { clock, pool, made, views, change } = await createPool();
  pool.update('c', views);
  assert.equal(made.length, 3);
  change('n1', { address: 'n1:2' });
  await clock.idle();
  assert.equal(made.length, 4);
  assert.equal(made[1]?.closed, 1);
  assert.equal(pool.node('n1').state, 'up');
  assert.equal(pool.node('n1').client, made[3]);
});

test('a node that left the view is disconnected and not written to', async () => {
  const { pool, made, views } = await createPool();
  pool.update('c', views.slice(0, 2));
  assert.equal(made[2]?.closed, 1);
  assert.equal(pool.node('n2').writable, false);
  assert.equal(pool.node('n2').proven, false);
});

test('a failing node is suspect, then down, then up again when a probe succeeds', async () => {
  const { clock, pool, client } = await createPool();
  const node = pool.node('n0');
  client(0).fault = 'unavailable';
  node.silent();
  assert.equal(node.state, 'suspect');
  await clock.advance(5000);
  assert.equal(node.state, 'down');
  client(0).fault = 'none';
  await clock.advance(6000);
  assert.equal(node.state, 'up');
});

test('a node that the metadata service calls down is probed and used when it answers here', async () => {
  const { clock, pool, change } = await createPool();
  change('n0', { state: 'down' });
  assert.equal(pool.node('n0').writable, false);
  await clock.advance(200);
  assert.equal(pool.node('n0').writable, true);
});

test('a frozen node is noticed by the probe that a lost hedge causes', async () => {
  const { clock, pool, client } = await createPool();
  client(0).fault = 'hang';
  pool.node('n0').slow(200);
  assert.equal(pool.node('n0').state, 'up');
  await clock.advance(2100);
  assert.equal(pool.node('n0').state, 'suspect');
});

test('probes of a dead node become rare, and a slow one is given longer and longer pauses', async () => {
  const { clock, pool, client } = await createPool();
  client(0).fault = 'unavailable';
  pool.node('n0').silent();
  await clock.advance(60_000);
  const calls = client(0).calls.health;
  assert.ok(calls > 10 && calls < 25, `${calls} probes in a minute`);
  const slow = pool.node('n1');
  const pauses: number[] = [];
  for (let round = 0; round < 4; round++) {
    slow.silent();
    const since = clock.monotonic();
    while (slow.state !== 'up') await clock.advance(50);
    pauses.push(clock.monotonic() - since);
  }
  assert.deepEqual(pauses, [100, 200, 400, 800]);
});

test('a full node is not written to until a probe finds space', async () => {
  const { clock, pool, client, change } = await createPool();
  client(0).fault = 'full';
  change('n0', { full: true });
  assert.equal(pool.node('n0').writable, false);
  await clock.advance(3000);
  assert.equal(pool.node('n0').writable, false);
  client(0).fault = 'none';
  await clock.advance(6000);
  assert.equal(pool.node('n0').writable, true);
});

test('an impostor is never proven, neither at first nor when it takes an address over', async () => {
  const { clock, pool, client } = await createPool();
  client(1).impostor = 'n0';
  pool.node('n1').silent();
  await clock.advance(500);
  assert.equal(pool.node('n1').proven, false);
  client(1).impostor = undefined;
  await clock.advance(6000);
  assert.equal(pool.node('n1').writable, true);
});

test('reads prefer nodes that are well, then near, then fast, then idle, then placement order', async () => {
  const { pool } = await createPool();
  const nodes = IDS.map((id) => pool.node(id));
  const [a, b, c] = nodes;
  assert.ok(a && b && c);
  const order = (zone?: string) => sortForReading([a, b, c], zone).map(({ id }) => id);
  assert.deepEqual(order(), ['n0', 'n1', 'n2']);
  a.inFlight = 2;
  assert.deepEqual(order(), ['n1', 'n2', 'n0']);
  b.latencyMs = 50;
  assert.deepEqual(order(), ['n2', 'n0', 'n1']);
  assert.deepEqual(order('z1'), ['n1', 'n2', 'n0']);
  b.state = 'suspect';
  assert.deepEqual(order('z1'), ['n2', 'n0', 'n1']);
});
