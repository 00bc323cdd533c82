/**
 * Nodes come, go, fill and change places under reads, writes and deletions: no request fails, nothing
 * is lost, nothing is left behind. The whole cluster in this process (`../support/small-cluster.ts`).
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LayoutChange } from '../../meta/admin-protocol.ts';
import { seededBytes } from '../support/files.ts';
import {
  blankDisk,
  BUCKET,
  copyOfDisk,
  md5,
  nameOfBlock,
  type SmallCluster,
  startSmallCluster,
} from '../support/small-cluster.ts';

const SIZES = [1, 900, 4096, 5000, 20_000, 70_001];

/** Writes, overwrites, reads and deletes until it is stopped; the first failure ends it. */
class Traffic {
  /** Keys with the MD5 of what they hold. */
  readonly live: Map<string, string>;
  requests = 0;
  readonly #stopped = new AbortController();
  readonly #cluster: SmallCluster;
  readonly #work: Promise<unknown>;

  constructor(cluster: SmallCluster, name: string, live = new Map<string, string>()) {
    this.#cluster = cluster;
    this.live = live;
    this.#work = Promise.all([
      ...[0, 1, 2].map((id) => this.#write(`${name}/${id}`, id)),
      this.#read(0),
      this.#read(1),
      this.#upload(`${name}/slow`),
    ]);
    this.#work.catch(() => this.#stopped.abort());
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#work;
  }

  async #write(name: string, id: number): Promise<void> {
    for (let round = 0; !this.#stopped.signal.aborted; round++) {
      const key = `${name}/${(round * 7) % 60}`;
      const known = this.live.get(key);
      // Nobody else reads it while nobody knows what it should be.
      this.live.delete(key);
      if (known !== undefined && round % 3 === 0) {
        await this.#cluster.remove(key);
        assert.equal(await this.#cluster.get(key, id % 2), undefined);
      } else {
        const body = seededBytes(`${key}#${round}`, SIZES[(round + id) % SIZES.length] ?? 1);
        await this.#cluster.put(key, body, id % 2);
        this.live.set(key, md5(body));
      }
      this.requests += 1;
      await sleep(1);
    }
  }

  /** Uploads that last: their blocks are written by several layouts, and committed under the last. */
  async #upload(name: string): Promise<void> {
    const { engine } = this.#cluster.engines[0] ?? assert.fail();
    for (let round = 0; !this.#stopped.signal.aborted; round++) {
      const key = `${name}/${round}`;
      const body = seededBytes(key, 60_000);
      const slowly = async function* (): AsyncGenerator<Uint8Array> {
        for (let from = 0; from < body.length; from += 5000) {
          await sleep(100);
          yield body.subarray(from, from + 5000);
        }
      };
      const object = { size: body.length, etag: md5(body), owner: 'o', system: {}, user: {} };
      const answer = await engine.store(slowly(), ({ writer, data, missing }) =>
        this.#cluster.meta.putObject({
          writer,
          bucket: BUCKET,
          key,
          object: { ...object, data },
          missing,
        }),
      );
      assert.ok(answer.ok);
      this.live.set(key, md5(body));
    }
  }

  async #read(engine: number): Promise<void> {
    for (let round = 0; !this.#stopped.signal.aborted; round++) {
      const keys = [...this.live.keys()];
      const key = keys[(round * 13) % Math.max(1, keys.length)];
      if (key !== undefined) {
        const body = await this.#cluster.get(key, engine);
        // Overwritten or deleted while it was read: then it was checked against its own ETag.
        if (body !== undefined) assert.ok(body.length > 0);
        this.requests += 1;
      }
      await sleep(1);
    }
  }
}

/** Everything is readable, and every node has exactly the blocks that it should. */
async function check(cluster: SmallCluster, live: ReadonlyMap<string, string>): Promise<void> {
  const expected = new Map<string, Set<string>>();
  for (const id of cluster.nodes.keys()) expected.set(id, new Set());
  for (const [key, hash] of live) {
    for (const engine of [0, 1]) {
      const body = await cluster.get(key, engine);
      assert.ok(body && md5(body) === hash, `${key} is as it was written`);
    }
    const found = await cluster.meta.getObject({ bucket: BUCKET, key });
    assert.ok(found.ok);
    for (const block of await cluster.placed(found.value.object)) {
      for (const owner of block.owners) {
        expected.get(owner)?.add(Buffer.from(nameOfBlock(block.key), 'hex').toString('latin1'));
      }
    }
  }
  await cluster.until(async () => (await cluster.meta.status()).queues.garbage === 0, 'no garbage');
  for (const [id, blocks] of expected) {
    await cluster.until(
      () => cluster.blocksOn(id).length <= blocks.size,
      `node ${id} to have only the ${blocks.size} blocks it should have, not ${cluster.blocksOn(id).length}`,
    );
    const stored = new Set(cluster.blocksOn(id));
    const missing = [...blocks].filter((name) => !stored.has(name));
    assert.deepEqual(missing.length, 0, `blocks that node ${id} lacks`);
    assert.equal(stored.size, blocks.size, `blocks on node ${id}`);
  }
}

/** Groups per node are within 20 % of their share. */
async function assertBalanced(cluster: SmallCluster, nodes: number): Promise<void> {
  const infos = (await cluster.admin.nodes()).filter(
    ({ inLayout, weight }) => inLayout && weight > 0,
  );
  assert.equal(infos.length, nodes);
  const share = infos.reduce((sum, { groups }) => sum + groups, 0) / nodes;
  for (const { id, groups } of infos) {
    assert.ok(Math.abs(groups - share) <= share * 0.2, `${id}: ${groups} groups of ${share}`);
  }
}

describe('a cluster under load', () => {
  let cluster: SmallCluster;
  let traffic: Traffic;

  before(async () => {
    cluster = await startSmallCluster();
    traffic = new Traffic(cluster, 'load');
    await sleep(500);
  });

  after(async () => {
    await traffic?.stop().catch(() => {});
    await cluster?.stop();
  });

  async function changed(...changes: LayoutChange[]): Promise<void> {
    await cluster.change(...changes);
    await cluster.settled();
  }

  test('takes in nodes 4 and 5, and they get their share', async () => {
    for (const n of [4, 5]) await cluster.startNode(blankDisk(`node-${n}`), `zone-${n}`).registered;
    const plan = await cluster.admin.stageLayout({ changes: [{ kind: 'add', node: 'node-4' }] });
    assert.ok(
      plan.movedReplicas > 0 && plan.movedReplicas <= 3 * 64 * 0.3,
      `${plan.movedReplicas}`,
    );
    assert.ok(plan.movedBytes > 0);
    await cluster.admin.applyLayout({ epoch: plan.epoch });
    // A second change while the first one is being carried out.
    await changed({ kind: 'add', node: 'node-5' });
    await assertBalanced(cluster, 5);
    await traffic.stop();
    await check(cluster, traffic.live);
    traffic = new Traffic(cluster, 'five', traffic.live);
  });

  test('drains node 1, then removes it, and nothing is left on it', async () => {
    await changed({ kind: 'drain', node: 'node-1' });
    const drained = (await cluster.admin.nodes()).find(({ id }) => id === 'node-1');
    assert.deepEqual([drained?.condition, drained?.groups], ['draining', 0]);
    assert.equal(cluster.blocksOn('node-1').length, 0);
    await changed({ kind: 'remove', node: 'node-1' });
    const ids = (await cluster.admin.nodes()).map(({ id }) => id);
    assert.ok(!ids.includes('node-1'));
    assert.equal(cluster.blocksOn('node-1').length, 0);
    await cluster.nodes.get('node-1')?.stop();
    await assertBalanced(cluster, 4);
  });

  test('replaces the disk of a node: the blank one is refused first, then filled', async () => {
    const old = cluster.nodes.get('node-2');
    assert.ok(old);
    await old.stop();
    await cluster.until(
      async () => (await cluster.admin.nodes()).some(({ condition }) => condition === 'down'),
      'node-2 to be down',
    );
    const blank = cluster.startNode(blankDisk('node-2'), 'zone-2');
    await sleep(700);
    const [info] = (await cluster.admin.nodes()).filter(({ id }) => id === 'node-2');
    assert.equal(info?.condition, 'down');
    await assert.rejects(
      cluster.meta.registerNode({
        id: 'node-2',
        address: 'node-2',
        zone: 'zone-2',
        capacityBytes: 1,
        freeBytes: 1,
        instance: 'x',
      }),
      /its disk is blank.*run `ashlar node replace node-2`/,
    );
    await changed({ kind: 'replace', node: 'node-2' });
    await blank.registered;
    await assertBalanced(cluster, 4);
  });

  test('moves a node to another zone and weighs another one less', async () => {
    await changed({ kind: 'zone', node: 'node-3', zone: 'zone-4' });
    const { view } = await cluster.admin.layout();
    assert.equal(view.nodes.find(({ id }) => id === 'node-3')?.zone, 'zone-4');
    await changed({ kind: 'weight', node: 'node-5', weight: 2 ** 38 });
  });

  test('goes on through a restart of the metadata service in the middle of a change', async () => {
    await cluster.startNode(blankDisk('node-6'), 'zone-6').registered;
    await cluster.admin.controlJob({ name: 'rebalance', action: 'run', rate: 100_000 });
    await cluster.change({ kind: 'add', node: 'node-6' });
    await sleep(400);
    await traffic.stop();
    assert.ok((await cluster.admin.layout()).movingGroups > 0);
    await cluster.restartMeta();
    traffic = new Traffic(cluster, 'restarted', traffic.live);
    await cluster.admin.controlJob({ name: 'rebalance', action: 'run', rate: 0 });
    await cluster.settled();
  });

  test('has lost nothing and left nothing behind in the end', async (context) => {
    await traffic.stop();
    await check(cluster, traffic.live);
    context.diagnostic(`${traffic.requests} requests since the last change, none failed`);
  });
});

describe('membership', () => {
  let cluster: SmallCluster;

  before(async () => {
    cluster = await startSmallCluster({ nodes: 4, nodeOutMs: 3000, zone: (n) => `zone-${n % 3}` });
    for (let n = 0; n < 40; n++) await cluster.put(`k/${n}`, seededBytes(`k/${n}`, 5000));
  });

  after(() => cluster?.stop());

  test('three zones get one replica each', async () => {
    const { view } = await cluster.admin.layout();
    const zoneOf = new Map(view.nodes.map(({ id, zone }) => [id, zone]));
    const found = await cluster.meta.getObject({ bucket: BUCKET, key: 'k/1' });
    assert.ok(found.ok);
    for (const { owners } of await cluster.placed(found.value.object)) {
      assert.equal(new Set(owners.map((id) => zoneOf.get(id))).size, 3);
    }
  });

  test('an old copy of a disk is refused, however often it is tried', async () => {
    const node = cluster.nodes.get('node-1') ?? assert.fail();
    await node.stop();
    const copy = copyOfDisk(node.disk);
    const again = cluster.startNode(node.disk, 'zone-1');
    await again.registered;
    await again.stop();
    for (let attempt = 0; attempt < 3; attempt++) {
      const stale = cluster.startNode(copy, 'zone-1');
      assert.match(
        (await stale.refused).message,
        /is an old copy.*Start the node on its present disk/,
      );
      await stale.stop();
    }
    await cluster.startNode(node.disk, 'zone-1').registered;
  });

  test('a node that stays away is done without, and is a spare when it returns', async () => {
    const node = cluster.nodes.get('node-4') ?? assert.fail();
    await node.stop();
    await cluster.until(async () => {
      const { view } = await cluster.admin.layout();
      return view.layout?.nodes.length === 3;
    }, 'a layout without node-4');
    await cluster.settled();
    for (let n = 0; n < 40; n++) assert.ok(await cluster.get(`k/${n}`));
    await cluster.remove('k/0');
    cluster.startNode(node.disk, 'zone-1');
    await cluster.until(async () => {
      const info = (await cluster.admin.nodes()).find(({ id }) => id === 'node-4');
      return info?.condition === 'spare' && cluster.blocksOn('node-4').length === 0;
    }, 'node-4 to be an empty spare');
    await cluster.change({ kind: 'add', node: 'node-4' });
    await cluster.settled();
    assert.ok(cluster.blocksOn('node-4').length > 0);
  });

  test('a dead node in the layout is not removed unless it is forced', async () => {
    const node = cluster.nodes.get('node-3') ?? assert.fail();
    await node.stop();
    await cluster.until(
      async () => (await cluster.admin.nodes()).some(({ condition }) => condition === 'down'),
      'node-3 to be down',
    );
    const remove = { kind: 'remove' as const, node: 'node-3' };
    await assert.rejects(
      cluster.admin.stageLayout({ changes: [remove] }),
      /may hold the only good copy.*or force the removal/,
    );
    await cluster.change({ ...remove, force: true });
    await cluster.settled();
    const back = cluster.startNode(node.disk, 'zone-0');
    assert.match((await back.refused).message, /was removed from the cluster/);
    await back.stop();
    for (let n = 1; n < 40; n++) assert.ok(await cluster.get(`k/${n}`));
  });

  test('changes that make no sense are refused with what to do', async () => {
    const stage = (change: LayoutChange) => cluster.admin.stageLayout({ changes: [change] });
    await assert.rejects(
      stage({ kind: 'drain', node: 'nobody' }),
      /there is no node nobody: start it/,
    );
    await assert.rejects(stage({ kind: 'add', node: 'node-1' }), /is in the layout already/);
    await assert.rejects(stage({ kind: 'undrain', node: 'node-1' }), /is not being drained/);
    await assert.rejects(stage({ kind: 'remove', node: 'node-1' }), /add a node first/);
    await assert.rejects(stage({ kind: 'replace', node: 'node-1' }), /Stop it first/);
    await assert.rejects(stage({ kind: 'weight', node: 'node-1', weight: 0 }), /drain it/);
    const plan = await stage({ kind: 'drain', node: 'node-1' });
    assert.match(plan.warnings.join(' '), /keeps 64 of its 64 groups.*Add a node first/);
    await assert.rejects(cluster.admin.applyLayout({ epoch: plan.epoch + 1 }), /look at it again/);
    assert.equal((await cluster.admin.revertLayout()).staged, undefined);
    await assert.rejects(cluster.admin.applyLayout({ epoch: plan.epoch }), /nothing is staged/);
  });
});
