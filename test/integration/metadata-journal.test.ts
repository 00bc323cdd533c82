/** The metadata journal between a store and its nodes: everything that can have happened before a start. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, systemEffects } from '../../base/clock.ts';
import { isFailure } from '../../base/failure.ts';
import { silentLog } from '../../base/log.ts';
import { encodeFacts, FACTS_KEY } from '../../meta/cluster/rows.ts';
import { openLmdbStore } from '../../meta/engine/lmdb.ts';
import { backupSource, createBackup, verifyBackup } from '../../meta/journal/backup.ts';
import { catchUp } from '../../meta/journal/recovery.ts';
import { restoreStore } from '../../meta/journal/restore.ts';
import { nodesSource } from '../../meta/journal/source.ts';
import {
  CLUSTER_ID,
  commitOf,
  type Service,
  startService,
  TestNode,
  until,
} from '../support/journal-world.ts';

const root = mkdtempSync(join(tmpdir(), 'ashlar-journal-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const newFolder = (): string => join(root, String(++folders));
const threeNodes = (): TestNode[] => ['a', 'b', 'c'].map((id) => new TestNode(id));

/** A cluster's first start, with its facts and `count` rows written. */
async function begun(count: number, mode: 'sync' | 'async' = 'sync') {
  const world = { folder: newFolder(), nodes: threeNodes(), mode };
  const service = await startService({ ...world, boot: 1 });
  await service.open();
  const facts = encodeFacts({ format: 1, clusterId: CLUSTER_ID });
  const commit = commitOf('', '');
  await service.store.commit({ ...commit, set: [{ key: FACTS_KEY, value: facts }], del: [] });
  for (let n = 0; n < count; n++) await service.commit(`k${n}`, `v${n}`);
  return { ...world, service };
}

/** What a store that is made anew from these nodes contains. */
async function rebuilt(nodes: readonly TestNode[], untilMs?: number) {
  const folder = newFolder();
  const restored = await restoreStore(nodesSource(nodes), {
    folder,
    mapSizeBytes: 2 ** 30,
    effects: systemEffects,
    untilMs,
    generation: 0,
    startsSkipped: 0,
    newLine: untilMs !== undefined,
  });
  const store = openLmdbStore({
    folder: join(folder, 'store'),
    mapSizeBytes: 2 ** 30,
    watchdogMs: 10_000,
    clock: systemClock,
    die: (reason) => assert.fail(reason),
  });
  const [start, end] = [Buffer.from('k'), Buffer.from('l')];
  const rows = new Map<string, string>();
  for (const { key, value } of await store.range({ start, end, limit: 1000 })) {
    rows.set(key.toString(), value.toString());
  }
  await store.close();
  return { restored, rows, folder };
}

const range = (count: number): Map<string, string> =>
  new Map(
    Array.from({ length: count }, (_, n): [string, string] => [`k${n}`, `v${n}`]).sort(
      ([a], [b]) => (a < b ? -1 : 1),
    ),
  );

describe('the metadata journal', () => {
  it('has every acknowledged commit on two nodes, so that any two of three give it back', async () => {
    const { nodes, service } = await begun(50);
    await service.commit('k7', undefined);
    await service.stop();
    const expected = range(50);
    expected.delete('k7');
    const [a, b, c] = nodes;
    assert.ok(a && b && c);
    for (const pair of [
      [a, b],
      [b, c],
      [a, c],
    ]) {
      assert.deepEqual((await rebuilt(pair)).rows, expected);
    }
  });

  it('shows nothing that two nodes do not have, and fails at once while it cannot', async () => {
    const { nodes, service } = await begun(1);
    const [, b, c] = nodes;
    assert.ok(b && c);
    b.mood = 'deaf';
    c.mood = 'deaf';
    const pending = service.commit('k1', 'v1');
    const failed = assert.rejects(pending, (error) => isFailure(error, 'unknown-outcome'));
    for (let turn = 0; turn < 20; turn++) {
      assert.equal(await service.read('k1'), undefined);
      await sleep(5);
    }
    await failed;
    await assert.rejects(service.commit('k2', 'v2'), (error) => isFailure(error, 'unavailable'));
    assert.equal(await service.read('k0'), 'v0');
    b.mood = 'well';
    await service.open();
    await service.commit('k3', 'v3');
    // What was not acknowledged is dropped for good, also where it had arrived.
    assert.equal(await service.read('k1'), undefined);
    c.mood = 'well';
    const { journal } = service;
    await until(() => journal.live().length === 3, 'the third node');
    await service.stop();
    for (const pair of [nodes.slice(0, 2), nodes.slice(1)]) {
      assert.deepEqual(
        (await rebuilt(pair)).rows,
        new Map([
          ['k0', 'v0'],
          ['k3', 'v3'],
        ]),
      );
    }
  });

  it('goes on with one node away, and brings it up to date when it returns', async () => {
    const { nodes, service } = await begun(3);
    const [a, b, c] = nodes;
    assert.ok(a && b && c);
    for (const mood of ['away', 'deaf', 'mute'] as const) {
      c.mood = mood;
      for (let n = 0; n < 20; n++) await service.commit(`k${n}`, `v${n}`);
      c.mood = 'well';
      const { sequence } = service.journal.head;
      await until(() => service.journal.live().length === 3, 'the node to be back');
      await until(
        () => service.journal.live().every(({ acked }) => acked >= sequence),
        'the node to catch up',
      );
    }
    a.mood = 'away';
    await service.stop();
    assert.deepEqual((await rebuilt([b, c])).rows, range(20));
    assert.deepEqual((await rebuilt([c])).rows, range(20));
  });

  it('fills the blank disk of a node that was replaced, snapshot and all', async () => {
    const { nodes, service } = await begun(10);
    const [a, b, c] = nodes;
    assert.ok(a && b && c);
    for (const node of [a, b]) {
      node.mood = 'away';
      await until(() => service.journal.live().length === 2, 'the node to be missed');
      node.replace();
      node.mood = 'well';
      await until(() => service.journal.live().length === 3, 'the node to be back');
      await service.commit('k0', 'v0');
      const { sequence } = service.journal.head;
      await until(() => service.journal.live().every(({ acked }) => acked >= sequence), 'it');
      await service.job.round();
    }
    service.job.run();
    await service.job.round();
    await service.stop();
    assert.deepEqual((await rebuilt([a])).rows, range(10));
    assert.deepEqual((await rebuilt([b])).rows, range(10));
  });

  it('gives a node that lost its copy a snapshot at once, and does so no more than once', async () => {
    const { nodes, service } = await begun(10);
    const [, , c] = nodes;
    assert.ok(c);
    await service.job.round();
    const { taken } = service.job.status().counts;
    c.mood = 'away';
    await until(() => service.journal.live().length === 2, 'the node to be missed');
    c.replace();
    c.mood = 'well';
    await until(() => service.journal.live().length === 3, 'the node to be back');
    await service.job.round();
    assert.equal(service.job.status().counts['taken'], (taken ?? 0) + 1);
    await service.job.round();
    assert.equal(service.job.status().counts['taken'], (taken ?? 0) + 1);
    await service.commit('k10', 'v10');
    const { sequence } = service.journal.head;
    await until(
      () => service.journal.live().every(({ acked }) => acked >= sequence),
      'all of them',
    );
    await service.stop();
    assert.deepEqual((await rebuilt([c])).rows, range(11));
  });

  it('takes a disk that was changed between two records for what it is', async () => {
    const { nodes, service } = await begun(3);
    const [, , c] = nodes;
    assert.ok(c);
    c.replace();
    await service.commit('k3', 'v3');
    await service.commit('k4', 'v4');
    const { journal } = service;
    await until(() => journal.live().length === 3, 'the third node');
    assert.equal(journal.state, 'open');
    await service.stop();
    assert.deepEqual((await rebuilt(nodes.slice(0, 2))).rows, range(5));
  });

  it('writes what was committed before it was open into its first record', async () => {
    const world = await begun(2);
    await world.service.stop();
    for (const node of world.nodes) node.mood = 'away';
    const service = await startService({ ...world, boot: 2 });
    await service.store.commit({ ...commitOf('k2', 'v2'), early: true });
    await assert.rejects(service.commit('k3', 'v3'), (error) => isFailure(error, 'unavailable'));
    await service.stop();
    const again = await startService({ ...world, boot: 3 });
    for (const node of world.nodes) node.mood = 'well';
    await again.open();
    await again.stop();
    assert.deepEqual((await rebuilt(world.nodes)).rows, range(3));
  });

  it('keeps two snapshots and the records since the older one', async () => {
    const { nodes, service } = await begun(5);
    for (let round = 0; round < 4; round++) {
      for (let n = 0; n < 5; n++) await service.commit(`k${n}`, `v${n}`);
      service.job.run();
      await service.job.round();
    }
    const newest = service.job.newest()?.sequence ?? 0;
    await service.commit('k5', 'v5');
    for (const node of nodes) {
      const kept = await node.journal.snapshots();
      assert.equal(kept.length, 2);
      assert.ok(kept.some(({ sequence }) => sequence === newest));
      const oldest = Math.min(...kept.map(({ sequence }) => sequence));
      assert.equal((await node.journal.state()).base.sequence, oldest);
    }
    await service.stop();
    assert.deepEqual((await rebuilt(nodes)).rows, range(6));
  });

  it('is exact although commits go on while a snapshot is made', async () => {
    const { nodes, service } = await begun(200);
    const model = range(200);
    let running = true;
    const writing = (async () => {
      for (let n = 0; running; n++) {
        const key = `k${(n * 7919) % 300}`;
        const value = n % 5 === 0 ? undefined : `w${n}`;
        await service.commit(key, value);
        if (value === undefined) model.delete(key);
        else model.set(key, value);
      }
    })();
    for (let round = 0; round < 5; round++) {
      service.job.run();
      await service.job.round();
      await sleep(10);
    }
    running = false;
    await writing;
    await service.stop();
    const { rows, restored } = await rebuilt(nodes);
    assert.deepEqual(Object.fromEntries(rows), Object.fromEntries(model));
    assert.ok(restored.snapshot > 200);
  });

  it('journals soon after in async mode, and catches up after an absence', async () => {
    const { nodes, service } = await begun(10, 'async');
    for (const node of nodes) node.mood = 'away';
    await until(() => service.journal.live().length === 0, 'the nodes to be missed');
    for (let n = 10; n < 20; n++) await service.commit(`k${n}`, `v${n}`);
    assert.equal(await service.read('k19'), 'v19');
    for (const node of nodes) node.mood = 'well';
    await until(() => service.journal.journaled === service.journal.head.sequence, 'the nodes');
    await service.job.round();
    await service.stop();
    assert.deepEqual((await rebuilt(nodes)).rows, range(20));
  });
});

describe('a start of the metadata service', () => {
  it('joins nothing with what it has missed, also where the journal follows later', async () => {
    const world = await begun(5, 'async');
    await until(() => world.service.journal.journaled >= world.service.journal.head.sequence, 'it');
    await world.service.stop();
    const copy = newFolder();
    cpSync(world.folder, copy, { recursive: true });
    // On the nodes, and not in the store that the next start finds.
    const ahead = await startService({ ...world, boot: 2 });
    await ahead.open();
    await ahead.commit('k5', 'v5');
    await until(() => ahead.journal.journaled >= ahead.journal.head.sequence, 'the nodes');
    await ahead.stop();
    for (const node of world.nodes) node.mood = 'away';
    const timings = { graceMs: 300 };
    const service = await startService({ ...world, folder: copy, boot: 3, timings });
    await assert.rejects(service.commit('k6', 'v6'), (error) => isFailure(error, 'unavailable'));
    await sleep(400);
    // They had their time: from now on this store goes its own way.
    await service.commit('k7', 'v7');
    for (const node of world.nodes) node.mood = 'well';
    await service.open();
    assert.equal(await service.read('k5'), undefined);
    assert.equal(await service.read('k7'), 'v7');
    await service.job.round();
    await until(() => service.journal.journaled >= service.journal.head.sequence, 'the nodes');
    await service.stop();
    const expected = range(5);
    expected.set('k7', 'v7');
    assert.deepEqual((await rebuilt(world.nodes)).rows, expected);
  });

  it('applies what the nodes have and its disk has lost', async () => {
    const world = await begun(5);
    const copy = newFolder();
    await world.service.stop();
    const service = await startService({ ...world, boot: 2 });
    await service.open();
    await service.commit('k5', 'v5');
    // The disk as it is at this moment, while the service goes on.
    cpSync(world.folder, copy, { recursive: true });
    for (let n = 6; n < 30; n++) await service.commit(`k${n}`, `v${n}`);
    await service.stop();
    const behind = await startService({ ...world, folder: copy, boot: 3 });
    const failure = await behind.refused;
    assert.equal(failure.kind, 'unavailable');
    assert.match(failure.message, /starting again/);
    await behind.stop();
    const again = await startService({ ...world, folder: copy, boot: 4 });
    await again.open();
    for (let n = 0; n < 30; n++) assert.equal(await again.read(`k${n}`), `v${n}`);
    await again.commit('k30', 'v30');
    await again.stop();
  });

  it('finds what was on its way before anything is read from the store', async () => {
    const world = await begun(5);
    const [a] = world.nodes;
    assert.ok(a);
    await world.service.stop();
    const copy = newFolder();
    cpSync(world.folder, copy, { recursive: true });
    const ahead = await startService({ ...world, boot: 2 });
    await ahead.open();
    for (let n = 5; n < 8; n++) await ahead.commit(`k${n}`, `v${n}`);
    await ahead.stop();
    // The disk as it was before the last start's records came; the number of that start is known.
    const behind = async (boot: number, clusterId = CLUSTER_ID) => {
      const store = openLmdbStore({
        folder: join(copy, 'store'),
        mapSizeBytes: 2 ** 30,
        watchdogMs: 10_000,
        clock: systemClock,
        floorBytes: 0,
        die: (reason) => assert.fail(reason),
      });
      const parts = { store, clusterId, boot, clock: systemClock, log: silentLog };
      const records = await catchUp({ ...parts, nodes: world.nodes });
      const [row] = await store.get([Buffer.from('k7')]);
      await store.close();
      return { records, found: row?.value.toString() };
    };
    // Of another cluster, or an old copy of the disk: the opening of the journal decides.
    assert.deepEqual(await behind(2, 'another'), { records: 0, found: undefined });
    assert.deepEqual(await behind(1), { records: 0, found: undefined });
    a.mood = 'deaf';
    const { records, found } = await behind(2);
    assert.equal(found, 'v7');
    assert.ok(records >= 3);
    a.mood = 'well';
    assert.deepEqual(await behind(2), { records: 0, found: 'v7' });
    const again = await startService({ ...world, folder: copy, boot: 3 });
    await again.open();
    assert.equal(await again.read('k7'), 'v7');
    await again.stop();
  });

  it('keeps what it has written itself already when it applies older records', async () => {
    const world = await begun(5);
    const copy = newFolder();
    await world.service.stop();
    const service = await startService({ ...world, boot: 2 });
    await service.open();
    await service.commit('k5', 'v5');
    cpSync(world.folder, copy, { recursive: true });
    await service.commit('count', 'of start 2');
    await service.stop();
    for (const node of world.nodes) node.mood = 'away';
    const behind = await startService({ ...world, folder: copy, boot: 3 });
    await behind.store.commit({ ...commitOf('count', 'of start 3'), early: true });
    for (const node of world.nodes) node.mood = 'well';
    await behind.refused;
    await behind.stop();
    const again = await startService({ ...world, folder: copy, boot: 4 });
    await again.open();
    assert.equal(await again.read('count'), 'of start 3');
    await again.stop();
  });

  it('is refused over an old copy of the disk, whichever two nodes answer', async () => {
    for (const missing of [undefined, 0, 1, 2]) {
      const world = await begun(5);
      await world.service.stop();
      const copy = newFolder();
      cpSync(world.folder, copy, { recursive: true });
      for (const boot of [2, 3]) {
        const service = await startService({ ...world, boot });
        await service.open();
        await service.commit(`boot${boot}`, 'x');
        await service.stop();
      }
      const away = missing === undefined ? undefined : world.nodes[missing];
      if (away !== undefined) away.mood = 'away';
      const old = await startService({ ...world, folder: copy, boot: 2 });
      const failure = await old.refused;
      assert.equal(failure.kind, 'conflict');
      assert.match(failure.message, /old copy of its disk.*ashlar meta rebuild/s);
      await assert.rejects(old.commit('k', 'v'), (error) => isFailure(error, 'unavailable'));
      await assert.rejects(async () => await old.journal.readable());
      await old.stop();
    }
  });

  it('ends the service that it takes over from, before that one acknowledges anything more', async () => {
    const world = await begun(5);
    const copy = newFolder();
    cpSync(world.folder, copy, { recursive: true });
    const usurper = await startService({ ...world, folder: copy, boot: 2 });
    await usurper.open();
    await assert.rejects(world.service.commit('k5', 'mine'), (error) =>
      isFailure(error, 'unknown-outcome', 'unavailable'),
    );
    assert.equal((await world.service.refused).kind, 'conflict');
    await usurper.commit('k5', 'v5');
    await world.service.stop();
    await usurper.stop();
    assert.deepEqual((await rebuilt(world.nodes)).rows, range(6));
  });

  it('waits for two nodes, and for one more when there are four', async () => {
    const world = await begun(5);
    await world.service.stop();
    const [a, b] = world.nodes;
    assert.ok(a && b);
    for (const node of world.nodes) node.mood = 'away';
    a.mood = 'well';
    const service = await startService({ ...world, boot: 2 });
    await sleep(150);
    assert.equal(service.journal.state, 'closed');
    assert.match(service.journal.problem ?? '', /1 of 3 storage nodes answer/);
    b.mood = 'well';
    await service.open();
    await service.stop();
    const nodes = [...world.nodes, new TestNode('d')];
    for (const node of nodes.slice(2)) node.mood = 'away';
    const started = performance.now();
    const four = await startService({ ...world, nodes, boot: 3, timings: { graceMs: 300 } });
    await four.open();
    assert.ok(performance.now() - started >= 300);
    await four.stop();
  });

  it('settles a record that reached one node only, whoever comes back', async () => {
    for (const returning of ['with it', 'without it'] as const) {
      const world = await begun(5);
      const { service, nodes } = world;
      const [a, b, c] = nodes;
      assert.ok(a && b && c);
      b.mood = 'away';
      c.mood = 'away';
      await service.commit('k5', 'v5').catch(() => {});
      await service.stop();
      for (const node of nodes) node.mood = 'well';
      (returning === 'with it' ? c : a).mood = 'away';
      let boot = 2;
      let next: Service = await startService({ ...world, boot });
      const restarted = await Promise.race([next.refused, next.open().then(() => undefined)]);
      if (restarted !== undefined) {
        await next.stop();
        next = await startService({ ...world, boot: ++boot });
        await next.open();
      }
      const there = (await next.read('k5')) === 'v5';
      assert.equal(there, returning === 'with it');
      await next.commit('k6', 'v6');
      for (const node of nodes) node.mood = 'well';
      await until(() => next.journal.live().length === 3, 'all nodes');
      const { sequence } = next.journal.head;
      await until(() => next.journal.live().every(({ acked }) => acked === sequence), 'all of it');
      assert.deepEqual(await Promise.all(nodes.map((node) => node.sequence())), [
        sequence,
        sequence,
        sequence,
      ]);
      await next.stop();
      for (const node of nodes) {
        assert.equal((await rebuilt([node])).rows.has('k5'), there);
      }
    }
  });

  it('does without damaged records of one node', async () => {
    const { nodes, service } = await begun(20);
    await service.stop();
    const [a, b] = nodes;
    assert.ok(a && b);
    let at = 0;
    for (const [name, row] of a.disk.blocks) {
      if (name.startsWith('r') && ++at % 2 === 0) row[44] = (row[44] ?? 0) ^ 1;
    }
    at = 0;
    for (const [name, row] of b.disk.blocks) {
      if (name.startsWith('r') && ++at % 2 === 1) row[44] = (row[44] ?? 0) ^ 1;
    }
    for (const node of [a, b]) node.restart();
    assert.deepEqual((await rebuilt([a, b])).rows, range(20));
    await assert.rejects(rebuilt([a]), (error) => isFailure(error, 'corrupt'));
  });
});

/** Flips a bit in each of these rows of a node's journal. */
function spoil(rows: Map<string, Buffer>, which: (name: string, at: number) => boolean): number {
  let spoiled = 0;
  let at = 0;
  for (const [name, row] of rows) {
    if (!which(name, at++)) continue;
    const place = Math.floor(row.length / 2);
    row[place] = (row[place] ?? 0) ^ 1;
    spoiled += 1;
  }
  return spoiled;
}

const isRecord = (name: string): boolean => name.startsWith('r');

describe('the scrub of the journal', () => {
  async function scrubbed({ scrub }: Service): Promise<Record<string, number>> {
    scrub.run();
    await scrub.round();
    const { counts, problem } = scrub.status();
    if (counts['lost'] === 0) assert.equal(problem, undefined);
    return counts;
  }

  it('finds nothing wrong where nothing is', async () => {
    const { nodes, service } = await begun(30);
    service.job.run();
    await service.job.round();
    await service.commit('k30', 'v30');
    const { sequence } = service.journal.head;
    await until(
      () => service.journal.live().every(({ acked }) => acked >= sequence),
      'all of them',
    );
    const counts = await scrubbed(service);
    assert.deepEqual([counts['damaged'], counts['lost'], counts['unanswered']], [0, 0, 0]);
    assert.ok((counts['records'] ?? 0) >= 3 * 30);
    assert.ok((counts['chunks'] ?? 0) >= 2 * nodes.length);
    await service.stop();
  });

  it('replaces damaged records and chunks by those of other nodes', async () => {
    const { nodes, service } = await begun(30);
    service.job.run();
    await service.job.round();
    for (let n = 30; n < 60; n++) await service.commit(`k${n}`, `v${n}`);
    const { sequence } = service.journal.head;
    await until(
      () => service.journal.live().every(({ acked }) => acked >= sequence),
      'all of them',
    );
    const [a, b, c] = nodes;
    assert.ok(a && b && c);
    // Some of each, neighbours and the last one among them; everything of one node.
    let spoiled = spoil(a.disk.blocks, (name, at) => isRecord(name) && at % 3 !== 0);
    spoiled += spoil(b.disk.blocks, (name, at) => isRecord(name) && at % 3 === 0);
    spoiled += spoil(c.disk.contents, () => true);
    assert.ok(spoiled > 60);
    const first = await scrubbed(service);
    assert.deepEqual([first['damaged'], first['repaired'], first['lost']], [spoiled, spoiled, 0]);
    const second = await scrubbed(service);
    assert.deepEqual([second['damaged'], second['repaired']], [spoiled, spoiled]);
    await service.stop();
    for (const node of nodes) assert.deepEqual((await rebuilt([node])).rows, range(60));
  });

  it('has a fresh snapshot made when no node has it good any more', async () => {
    const { folder, nodes, service } = await begun(30);
    await service.job.round();
    const { sequence } = service.journal.head;
    await until(
      () => service.journal.live().every(({ acked }) => acked >= sequence),
      'all of them',
    );
    // After a restart of the service what is in memory does not help.
    await service.stop();
    for (const node of nodes) {
      spoil(node.disk.blocks, (name) => isRecord(name) && name.endsWith('\x07'));
      spoil(node.disk.contents, () => true);
    }
    await assert.rejects(rebuilt(nodes));
    const again = await startService({ folder, nodes, boot: 2 });
    await again.open();
    const counts = await scrubbed(again);
    assert.ok((counts['lost'] ?? 0) > 0);
    await again.job.round();
    await again.stop();
    for (const node of nodes) assert.deepEqual((await rebuilt([node])).rows, range(30));
  });
});

describe('a backup', () => {
  it('is whole or refused, and goes back to any time in it', async () => {
    const { nodes, service } = await begun(10);
    service.job.run();
    await service.job.round();
    await sleep(5);
    const then = Date.now();
    await sleep(5);
    await service.commit('k10', 'v10');
    await service.stop();
    assert.deepEqual((await rebuilt(nodes, then)).rows, range(10));
    await assert.rejects(rebuilt(nodes, then - 3_600_000), (error) =>
      isFailure(error, 'not-found'),
    );
    const folder = newFolder();
    const effects = systemEffects;
    const { name } = await createBackup(nodesSource(nodes), { folder, effects });
    const verified = await verifyBackup(join(folder, name));
    assert.equal(verified.sequence, service.journal.head.sequence);
    // Eleven of ours, the facts, the number of starts, the next writer.
    assert.equal((await rebuiltFrom(join(folder, name))).rows, 14);
    for (const file of ['manifest', 'chunk-00000', 'journal-00000', 'backup.json']) {
      const path = join(folder, name, file);
      const good = readFileSync(path);
      const bad = Buffer.from(good);
      bad[bad.length >> 1] = (bad[bad.length >> 1] ?? 0) ^ 0x10;
      writeFileSync(path, bad);
      await assert.rejects(verifyBackup(join(folder, name)), (error) =>
        isFailure(error, 'corrupt'),
      );
      rmSync(path);
      await assert.rejects(verifyBackup(join(folder, name)), (error) =>
        isFailure(error, 'corrupt', 'not-found'),
      );
      writeFileSync(path, good);
    }
  });
});

async function rebuiltFrom(backup: string) {
  return await restoreStore(await backupSource(backup), {
    folder: newFolder(),
    mapSizeBytes: 2 ** 30,
    effects: systemEffects,
    generation: 0,
    startsSkipped: 0,
    newLine: true,
  });
}
