import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planLayout } from '../cluster/layout.ts';
import type { BlobRef } from '../protocol.ts';
import { RepairJob, type RepairLimits } from './repair.ts';
import { type HealingWorld, healingWorld } from './test-support.ts';

const MIB = 1024 ** 2;

function jobOf(w: HealingWorld, limits: Partial<RepairLimits> = {}): RepairJob {
  return new RepairJob({ ...w.parts, limits });
}

/** Rounds with time passing between them. */
async function rounds(w: HealingWorld, job: RepairJob, count: number, pauseMs = 1000) {
  for (let round = 0; round < count; round++) {
    await w.clock.settle(job.round());
    await w.clock.advance(pauseMs);
  }
}

describe('the repair job', () => {
  it('writes the replicas that commits named as missing, and only those', async () => {
    const w = await healingWorld(5);
    const refs: BlobRef[] = [];
    for (let n = 0; n < 30; n++) {
      refs.push(await w.put(`k${n}`, n % 3 === 0 ? 3 * MIB + 5 : 100, ['node-1']));
    }
    const job = jobOf(w);
    await rounds(w, job, 3);
    for (const ref of refs) assert.equal(w.soundReplicas(ref), 3 * w.placed(ref).length);
    assert.equal(await w.parts.repairs.depth(), 0);
    const stored = [...w.nodes.values()].reduce((sum, { blocks }) => sum + blocks.size, 0);
    assert.equal(stored, 3 * refs.reduce((sum, ref) => sum + w.placed(ref).length, 0));
    const { counts, problem, lastFinishedMs } = job.status();
    assert.equal(counts['lost'], 0);
    assert.ok((counts['repaired'] ?? 0) > 0);
    assert.equal(problem, undefined);
    assert.ok(lastFinishedMs !== undefined);
  });

  it('replaces a corrupt replica from a sound one', async () => {
    const w = await healingWorld();
    const ref = await w.put('k', 2 * MIB + 1);
    const [, second] = w.placed(ref);
    assert.ok(second);
    w.node('node-2').spoil(second.key);
    await w.parts.repairs.report([{ blob: ref.blob, node: 'node-2', reason: 'corrupt' }]);
    const job = jobOf(w);
    await rounds(w, job, 1);
    assert.equal(w.soundReplicas(ref), 9);
    assert.equal(job.status().counts['repaired'], 1);
    assert.equal(job.status().counts['sound'], 2);
  });

  it('passes over sources that are bad, mends those as well, and never spreads them', async () => {
    const w = await healingWorld();
    const ref = await w.put('k', 100, ['node-0']);
    const [block] = w.placed(ref);
    assert.ok(block);
    w.node('node-1').spoil(block.key);
    const job = jobOf(w);
    await rounds(w, job, 4, 2000);
    assert.equal(w.soundReplicas(ref), 3);
    assert.equal(await w.parts.repairs.depth(), 0);
  });

  it('keeps a block without any good replica, deletes nothing of it, and says so', async () => {
    const w = await healingWorld();
    const ref = await w.put('k', 100, ['node-0']);
    const other = await w.put('other', 100, ['node-0']);
    const [block] = w.placed(ref);
    assert.ok(block);
    w.node('node-1').spoil(block.key);
    w.node('node-2').spoil(block.key);
    const job = jobOf(w, { lostRetryMs: 5000 });
    await rounds(w, job, 10);
    assert.equal(w.soundReplicas(other), 3);
    const { counts, problem } = job.status();
    assert.equal(counts['lost'], 1);
    assert.match(problem ?? '', /without any good replica/);
    assert.deepEqual(job.histogram(2), { whole: 1, missingOne: 0, missingTwo: 1, lost: 1 });
    for (const node of w.nodes.values()) assert.equal(node.calls.get('delete') ?? 0, 0);
    assert.equal(w.node('node-1').blocks.size, 2);
    // A good replica turns up after all.
    w.node('node-1').spoil(block.key);
    await rounds(w, job, 30);
    assert.equal(w.soundReplicas(ref), 3);
    assert.equal(job.status().counts['lost'], 0);
    assert.equal(job.status().problem, undefined);
  });

  it('takes an unreachable source for what it is: not missing, not lost', async () => {
    const w = await healingWorld();
    const ref = await w.put('k', 100, ['node-0']);
    w.node('node-1').fault = 'unavailable';
    w.down.add('node-2');
    const job = jobOf(w);
    await rounds(w, job, 20);
    assert.equal(job.status().counts['lost'], 0);
    assert.equal(await w.parts.repairs.depth(), 1);
    w.down.clear();
    await rounds(w, job, 20);
    assert.equal(w.soundReplicas(ref), 3);
  });

  it('leaves a node that is away alone, heals the others, and is there when it returns', async () => {
    const w = await healingWorld(6);
    const refs: BlobRef[] = [];
    for (let n = 0; n < 40; n++) refs.push(await w.put(`k${n}`, 100, ['node-1', 'node-4']));
    w.down.add('node-1');
    w.node('node-4').fault = 'unavailable';
    const job = jobOf(w);
    await rounds(w, job, 60);
    const asked = w.node('node-4').calls.get('has') ?? 0;
    assert.ok(asked > 0 && asked < 120, `asked ${asked} times in a minute`);
    assert.equal(w.node('node-1').calls.size, 0);
    w.node('node-4').fault = 'none';
    await rounds(w, job, 70);
    const placedOn = (id: string) =>
      refs.filter((ref) => w.placed(ref).some(({ ids }) => ids.includes(id))).length;
    assert.equal(w.node('node-4').blocks.size, placedOn('node-4'));
    assert.equal(await w.parts.repairs.depth(), placedOn('node-1'));
    w.down.clear();
    await rounds(w, job, 3);
    assert.equal(await w.parts.repairs.depth(), 0);
    for (const ref of refs) assert.equal(w.soundReplicas(ref), 3);
  });

  it('begins with the blobs that have the fewest good replicas', async () => {
    const w = await healingWorld();
    for (let n = 0; n < 1500; n++) await w.put(`one-${n}`, 10, ['node-0']);
    const urgent: string[] = [];
    for (let n = 0; n < 5; n++)
      urgent.push((await w.put(`two-${n}`, 10, ['node-0', 'node-1'])).blob);
    const order: string[] = [];
    for (const id of ['node-0', 'node-1']) {
      w.node(id).before = (method, [key]) => {
        if (method === 'put' && key !== undefined) order.push(key.blob);
      };
    }
    const job = jobOf(w);
    for (let round = 0; (await w.parts.repairs.depth()) > 0 && round < 50; round++) {
      await w.clock.settle(job.round());
    }
    assert.equal(order.length, 1510);
    assert.deepEqual(new Set(order.slice(0, 10)), new Set(urgent));
  });

  it('leaves nothing behind when the blob is deleted while it is being repaired', async () => {
    const w = await healingWorld();
    await w.put('k', 100, ['node-0']);
    w.renew();
    const removeAll = async () => {
      await w.remove('k');
      // The garbage job has been everywhere before the copy arrives.
      for (const node of w.nodes.values()) node.blocks.clear();
    };
    w.node('node-0').before = async (method) => {
      if (method === 'put') await removeAll();
    };
    const job = jobOf(w);
    await rounds(w, job, 2);
    for (const node of w.nodes.values()) assert.equal(node.blocks.size, 0);
    assert.equal(await w.parts.repairs.depth(), 0);
  });

  it('leaves the copy to the garbage job while a commit could still bring the blob back', async () => {
    const w = await healingWorld();
    await w.put('k', 100, ['node-0']);
    w.node('node-0').before = async (method) => {
      if (method === 'put') await w.remove('k');
    };
    const job = jobOf(w);
    await rounds(w, job, 2);
    assert.equal(w.node('node-0').blocks.size, 1);
    assert.equal(await w.parts.repairs.depth(), 0);
  });

  it('takes off entries of blobs that are gone and of nodes that hold none of the blob', async () => {
    const w = await healingWorld(4);
    const kept = await w.put('kept', 100);
    const ids = w.placed(kept)[0]?.ids ?? [];
    const stranger = [...w.nodes.keys()].find((id) => !ids.includes(id));
    assert.ok(stranger);
    await w.parts.repairs.report([
      { blob: kept.blob, node: stranger, reason: 'missing' },
      { blob: kept.blob, node: 'of-another-time', reason: 'corrupt' },
    ]);
    await w.put('gone', 100, ['node-0', 'node-1']);
    await w.remove('gone');
    const job = jobOf(w);
    await rounds(w, job, 2);
    assert.equal(await w.parts.repairs.depth(), 0);
    assert.equal(w.node(stranger).blocks.has('x'), false);
    assert.equal(w.soundReplicas(kept), 3);
    assert.ok((job.status().counts['obsolete'] ?? 0) >= 3);
  });

  it('looks for a block where older layouts say, and writes it where the newest one does', async () => {
    const w = await healingWorld(6);
    const nodes = [...w.nodes.keys()].map((id) => ({ id, zone: id, weight: 1 }));
    const groups = w.layout().groups;
    const before = planLayout({ epoch: 1, groups, nodes: nodes.slice(0, 3) });
    w.setLayout(before);
    const ref = await w.put('k', 100);
    w.setLayout(planLayout({ epoch: 2, groups, nodes: nodes.slice(3) }), [before]);
    await w.parts.repairs.report([{ blob: ref.blob, node: 'node-4', reason: 'missing' }]);
    await rounds(w, jobOf(w), 2);
    const [block] = w.placed(ref);
    assert.ok(block);
    assert.ok(w.node('node-4').sound(block.key));
    assert.equal(await w.parts.repairs.depth(), 0);
  });

  it('pauses, resumes, and holds to both and to its rate over restarts', async () => {
    const w = await healingWorld();
    const ref = await w.put('k', 100, ['node-0']);
    const job = jobOf(w);
    await job.pause();
    await job.setRate(12_345);
    const restarted = jobOf(w);
    await restarted.restore();
    await rounds(w, restarted, 5);
    assert.equal(restarted.status().state, 'paused');
    assert.equal(w.soundReplicas(ref), 2);
    await restarted.resume();
    const again = jobOf(w);
    await again.restore();
    await rounds(w, again, 2);
    assert.equal(w.soundReplicas(ref), 3);
    assert.notEqual(again.status().state, 'paused');
  });

  it('keeps to its rate', async () => {
    const w = await healingWorld();
    for (let n = 0; n < 20; n++) await w.put(`k${n}`, MIB, ['node-0']);
    const job = jobOf(w);
    await job.setRate(MIB);
    const began = w.clock.monotonic();
    await rounds(w, job, 1, 0);
    const seconds = (w.clock.monotonic() - began) / 1000;
    assert.equal(w.node('node-0').blocks.size, 20);
    assert.ok(seconds >= 18 && seconds <= 22, `${seconds} s`);
  });

  it('goes on after a restart where the queue says, without writing anything twice', async () => {
    const w = await healingWorld();
    const refs: BlobRef[] = [];
    for (let n = 0; n < 50; n++) refs.push(await w.put(`k${n}`, 100, ['node-0']));
    const first = jobOf(w, { blobsPerRound: 20 });
    await rounds(w, first, 1, 0);
    assert.equal(await w.parts.repairs.depth(), 30);
    const second = jobOf(w, { blobsPerRound: 20 });
    await rounds(w, second, 5);
    for (const ref of refs) assert.equal(w.soundReplicas(ref), 3);
    assert.equal(w.node('node-0').calls.get('put'), 50);
    assert.equal(second.status().counts['repaired'], 30);
  });
});
