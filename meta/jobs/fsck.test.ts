import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeBlobId, placementGroup } from '../../base/ids.ts';
import type { FsckReport } from '../admin-protocol.ts';
import { blobKey, usageKey } from '../catalogue/keyspace.ts';
import { blobCodec } from '../catalogue/records.ts';
import { complete, freshPart, MIB, startUpload, value, WRITER } from '../catalogue/test-support.ts';
import { STAMP_BYTES } from '../engine/kv.ts';
import type { BlobRef } from '../protocol.ts';
import { Fsck } from './fsck.ts';
import { RepairJob } from './repair.ts';
import { type HealingWorld, healingWorld } from './test-support.ts';

function fsckOf(w: HealingWorld): Fsck {
  const { catalogue } = w.world;
  const effects = { clock: w.clock, random: { bytes: Buffer.alloc, fraction: () => 0 } };
  const { garbage, recount } = catalogue;
  return new Fsck({ ...w.parts, recount, garbage, effects });
}

async function check(w: HealingWorld, repair = false): Promise<FsckReport> {
  const fsck = fsckOf(w);
  fsck.start({ repair });
  while (fsck.report().state === 'running') {
    await w.clock.advance(100);
    // The gateway goes on reporting.
    w.renew();
  }
  const report = fsck.report();
  assert.equal(report.problem, undefined);
  assert.equal(report.progress, 1);
  return report;
}

const NOTHING = { missing: 0, corrupt: 0, surplus: 0, orphaned: 0, lost: 0, metadata: 0 };

async function repairAll(w: HealingWorld): Promise<void> {
  const job = new RepairJob(w.parts);
  for (let round = 0; round < 5; round++) {
    await w.clock.settle(job.round());
    await w.clock.advance(2000);
  }
}

async function worldWithObjects(nodes = 5) {
  const w = await healingWorld(nodes);
  const refs: BlobRef[] = [];
  for (let n = 0; n < 30; n++) refs.push(await w.put(`k${n}`, n % 3 === 0 ? 2 * MIB + 1 : 100));
  w.renew();
  const pick = (n: number, replica: number) => {
    const ref = refs[n];
    const block = ref && w.placed(ref).at(-1);
    const id = block?.ids[replica];
    assert.ok(ref && block && id !== undefined);
    return { ref, key: block.key, id };
  };
  return { w, refs, pick };
}

describe('fsck', () => {
  it('finds nothing where nothing is wrong', async () => {
    const { w, refs } = await worldWithObjects();
    const report = await check(w);
    assert.deepEqual(report.findings, NOTHING);
    assert.deepEqual(report.unreachable, []);
    assert.deepEqual(report.checked, { blobs: 30, blocks: 50, replicas: 150 });
    assert.deepEqual(report.samples, []);
    assert.equal(refs.length, 30);
  });

  it('finds missing and corrupt replicas, tells which blocks are lost, and has them repaired', async () => {
    const { w, refs, pick } = await worldWithObjects();
    const gone = pick(0, 1);
    w.node(gone.id).lose(gone.key);
    const bad = pick(1, 2);
    w.node(bad.id).spoil(bad.key);
    for (const replica of [0, 1, 2]) {
      const lost = pick(2, replica);
      if (replica === 0) w.node(lost.id).lose(lost.key);
      else w.node(lost.id).spoil(lost.key);
    }
    const expected = { ...NOTHING, missing: 2, corrupt: 3, lost: 1 };
    const first = await check(w);
    assert.deepEqual(first.findings, expected);
    assert.equal(first.samples.length, 6);
    assert.equal(await w.parts.repairs.depth(), 0);
    const second = await check(w, true);
    assert.deepEqual(second.findings, expected);
    assert.equal(second.repaired, 5);
    await repairAll(w);
    assert.deepEqual((await check(w)).findings, { ...NOTHING, missing: 1, corrupt: 2, lost: 1 });
    for (const ref of [...refs.slice(0, 2), ...refs.slice(3)]) {
      assert.equal(w.soundReplicas(ref), 3 * w.placed(ref).length);
    }
  });

  it('finds copies where they do not belong, and removes only those that nobody needs', async () => {
    const { w, refs, pick } = await worldWithObjects();
    const stranger = (ids: readonly string[]) =>
      [...w.nodes.keys()].find((id) => !ids.includes(id));
    const plant = (n: number) => {
      const block = w.placed(pick(n, 0).ref)[0];
      const id = stranger(block?.ids ?? []);
      const content =
        block &&
        w
          .node(block.ids[0] ?? '')
          .blocks.values()
          .next().value;
      assert.ok(block && id !== undefined && content);
      w.node(id).store(block.key, Buffer.from('a copy'));
      return { id, block };
    };
    const needless = plant(4);
    const needed = plant(5);
    w.node(needed.block.ids[0] ?? '').lose(needed.block.key);
    const { ref } = pick(6, 0);
    const beyond = { group: 3, blob: ref.blob, index: 77 };
    w.node('node-0').store(beyond, Buffer.from('beyond the end'));
    const found = { ...NOTHING, surplus: 3, missing: 1 };
    assert.deepEqual((await check(w)).findings, found);
    const report = await check(w, true);
    assert.deepEqual(report.findings, found);
    assert.equal(report.repaired, 3);
    assert.equal(w.node(needless.id).sound(needless.block.key), false);
    assert.equal(w.node(needed.id).sound(needed.block.key), true);
    assert.equal(w.node('node-0').sound(beyond), false);
    await repairAll(w);
    await check(w, true);
    assert.deepEqual((await check(w)).findings, NOTHING);
    for (const one of refs) assert.equal(w.soundReplicas(one), 3 * w.placed(one).length);
  });

  it('finds orphans, but not what is being written or waits as garbage, and removes them', async () => {
    const { w } = await worldWithObjects();
    const plant = (writer: number, sequence: number) => {
      const blob = makeBlobId(writer, sequence);
      const group = placementGroup(blob, 0, w.layout().groups);
      w.node('node-1').store({ group, blob, index: 0 }, Buffer.from('left over'));
    };
    plant(WRITER + 1, 1);
    plant(WRITER, 500);
    plant(WRITER, 2 ** 53 - 1);
    await w.remove('k3');
    const stored = () => [...w.nodes.values()].reduce((sum, { blocks }) => sum + blocks.size, 0);
    const before = stored();
    assert.deepEqual((await check(w)).findings, { ...NOTHING, orphaned: 2 });
    assert.equal(stored(), before);
    const report = await check(w, true);
    assert.deepEqual([report.findings.orphaned, report.repaired], [2, 2]);
    assert.equal(stored(), before - 2);
    assert.deepEqual((await check(w)).findings, NOTHING);
  });

  it('judges nothing by nodes that do not answer, and names them', async () => {
    const { w, refs } = await worldWithObjects(3);
    for (const node of w.nodes.values()) {
      for (const ref of refs.slice(0, 3)) for (const { key } of w.placed(ref)) node.lose(key);
    }
    w.down.add('node-0');
    w.node('node-1').fault = 'unavailable';
    const report = await check(w, true);
    assert.deepEqual(report.unreachable, ['node-0', 'node-1']);
    const lost = refs.slice(0, 3).reduce((sum, ref) => sum + w.placed(ref).length, 0);
    assert.deepEqual(report.findings, { ...NOTHING, missing: lost, lost });
    assert.match(report.samples.join(' '), /not asked: node-0, node-1/);
    assert.equal(w.node('node-2').calls.get('delete'), undefined);
  });

  it('recounts references and usage, and makes them right', async () => {
    const { w, refs } = await worldWithObjects(3);
    const { store, catalogue } = w.world;
    for (const upload of [await startUpload(w.world, 'big'), await startUpload(w.world, 'open')]) {
      for (const number of [1, 2]) {
        value(await catalogue.putPart(freshPart(w.world, upload, number, 5 * MIB)));
      }
      if (upload.key === 'big') {
        const listed = value(await catalogue.listParts({ ...upload, after: 0, limit: 10 }));
        value(await complete(catalogue, upload, listed.parts));
      }
    }
    assert.equal((await check(w)).findings.metadata, 0);
    const [first, second] = refs;
    assert.ok(first && second);
    const wrong = blobCodec.encode({ size: first.size, blockSize: first.blockSize, refs: 3 });
    await store.commit({
      id: Buffer.alloc(STAMP_BYTES, 9),
      checks: [],
      set: [{ key: blobKey(first.blob), value: wrong }],
      del: [blobKey(second.blob)],
      add: [{ key: usageKey(1, 0, 'objects'), delta: 1n }],
    });
    const report = await check(w);
    assert.equal(report.findings.metadata, 3, report.samples.join('\n'));
    assert.match(report.samples.join('\n'), /counts 3 references, there are 1/);
    assert.match(report.samples.join('\n'), /is referred to 1 times and has no row/);
    assert.match(report.samples.join('\n'), /bucket b counts/);
    const mended = await check(w, true);
    const { metadata, missing } = mended.findings;
    // The parts of the uploads are on no node here.
    assert.deepEqual([metadata, mended.repaired], [3, 3 + missing]);
    assert.equal((await check(w)).findings.metadata, 0);
  });

  it('runs once at a time, and says when it never ran', async () => {
    const w = await healingWorld();
    const fsck = fsckOf(w);
    assert.throws(() => fsck.report(), { kind: 'not-found' });
    assert.equal(fsck.start({ repair: false }).state, 'running');
    assert.throws(() => fsck.start({ repair: true }), { kind: 'conflict' });
    await fsck.stop();
    assert.equal(fsck.report().state, 'failed');
  });
});
