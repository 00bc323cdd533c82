import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BlobRef } from '../protocol.ts';
import { planLayout } from '../cluster/layout.ts';
import { ScrubJob, type ScrubLimits } from './scrub.ts';
import { type HealingWorld, healingWorld } from './test-support.ts';

const MIB = 1024 ** 2;

const jobOf = (w: HealingWorld, limits: Partial<ScrubLimits> = {}): ScrubJob =>
  new ScrubJob({ ...w.parts, limits });

/** Rounds until the pass has ended; the simulated milliseconds that it took. */
async function pass(w: HealingWorld, job: ScrubJob, limitMs = 1e7): Promise<number> {
  const began = w.clock.monotonic();
  const before = job.status().lastFinishedMs;
  while (job.status().lastFinishedMs === before) {
    await w.clock.settle(job.round());
    await w.clock.advance(100);
    assert.ok(w.clock.monotonic() - began < limitMs, 'the pass never ends');
  }
  return w.clock.monotonic() - began;
}

async function repairsOf(w: HealingWorld): Promise<string[]> {
  const { entries } = await w.parts.repairs.next(1000);
  return entries.map(({ blob, node, reason }) => `${blob} ${node} ${reason}`).sort();
}

describe('the scrub job', () => {
  it('finds every replica that is corrupt or missing, and nothing else', async () => {
    const w = await healingWorld(5);
    const refs: BlobRef[] = [];
    for (let n = 0; n < 50; n++) refs.push(await w.put(`k${n}`, n % 5 === 0 ? 2 * MIB + 1 : 100));
    const planted: string[] = [];
    for (const [n, ref] of refs.entries()) {
      const block = w.placed(ref).at(-1);
      const id = block?.ids[n % 3];
      if (n % 4 !== 0 || block === undefined || id === undefined) continue;
      if (n % 8 === 0) w.node(id).spoil(block.key);
      else w.node(id).lose(block.key);
      planted.push(`${ref.blob} ${id} ${n % 8 === 0 ? 'corrupt' : 'missing'}`);
    }
    const job = jobOf(w);
    await pass(w, job);
    assert.deepEqual(await repairsOf(w), planted.sort());
    const { counts } = job.status();
    assert.deepEqual([counts['corrupt'], counts['missing'], counts['blobs']], [7, 6, 50]);
    assert.equal(counts['blocks'], 3 * 70 - 6);
    assert.equal(job.blobCount, 50);
    for (const ref of refs) {
      for (const { key, ids } of w.placed(ref)) {
        for (const id of ids) {
          const at = job.verifiedAt(id, key.group) ?? 0;
          assert.ok(at > 0 && at <= w.clock.now());
        }
      }
    }
  });

  it('judges nothing by a node that does not answer, and comes back to it', async () => {
    const w = await healingWorld();
    const ref = await w.put('k', 100);
    const [block] = w.placed(ref);
    assert.ok(block);
    for (const node of w.nodes.values()) node.lose(block.key);
    w.down.add('node-0');
    w.node('node-1').fault = 'unavailable';
    const job = jobOf(w, { periodMs: 3_600_000 });
    await pass(w, job);
    assert.deepEqual(await repairsOf(w), [`${ref.blob} node-2 missing`]);
    assert.match(job.status().problem ?? '', /did not answer/);
    assert.equal(job.verifiedAt('node-0', block.key.group), undefined);
    w.down.clear();
    w.node('node-1').fault = 'none';
    await w.clock.advance(3_600_000);
    await pass(w, job);
    assert.equal((await repairsOf(w)).length, 3);
    assert.equal(job.status().problem, undefined);
  });

  it('reads at the rate that its period asks for, or the one that an operator sets', async () => {
    const w = await healingWorld();
    for (let n = 0; n < 40; n++) await w.put(`k${n}`, MIB);
    const slow = jobOf(w, { bytesPerSecondMin: 1, periodMs: 1_000_000, saveMs: 1000 });
    const took = await pass(w, slow);
    // 40 MiB on each node in 1,000 s, a quarter faster.
    assert.ok(took > 700_000 && took < 900_000, `${took} ms`);
    const fast = jobOf(w, { bytesPerSecondMin: 4 * MIB });
    const quick = await pass(w, fast);
    assert.ok(quick > 8000 && quick < 13_000, `${quick} ms`);
    await fast.setRate(MIB);
    fast.run();
    const set = await pass(w, fast);
    assert.ok(set > 35_000 && set < 45_000, `${set} ms`);
  });

  it('begins the next pass a period after the last began, or when asked', async () => {
    const w = await healingWorld();
    await w.put('k', 100);
    const job = jobOf(w, { periodMs: 86_400_000 });
    await pass(w, job);
    const calls = () => w.node('node-0').calls.get('verify') ?? 0;
    const first = calls();
    for (let hour = 0; hour < 23; hour++) {
      await w.clock.settle(job.round());
      await w.clock.advance(3_600_000);
    }
    assert.equal(calls(), first);
    assert.equal(job.status().state, 'idle');
    job.run();
    await pass(w, job);
    assert.equal(calls(), 2 * first);
    await w.clock.advance(86_400_000);
    await pass(w, job);
    assert.equal(calls(), 3 * first);
  });

  it('goes on after a restart where it was, and knows what was verified when', async () => {
    const w = await healingWorld();
    for (let n = 0; n < 200; n++) await w.put(`k${n}`, 100_000);
    const calls = () => w.node('node-0').calls.get('verify') ?? 0;
    const first = jobOf(w, { saveMs: 0 });
    for (let n = 0; n < 5; n++) {
      await w.clock.settle(first.round());
      await w.clock.advance(1000);
    }
    const done = first.status().done;
    assert.ok(done > 30 && done < 150, String(done));
    const before = calls();
    const second = jobOf(w);
    await second.restore();
    assert.equal(second.status().done, done);
    assert.ok(second.verifiedAt('node-0', 0) !== undefined);
    await pass(w, second);
    assert.ok(calls() - before < 64, 'no group twice');
    const third = jobOf(w);
    await third.restore();
    assert.equal(third.status().state, 'idle');
    assert.ok(third.verifiedAt('node-2', 63) !== undefined);
    assert.equal(third.blobCount, 200);
  });

  it('pauses, over restarts too', async () => {
    const w = await healingWorld();
    for (let n = 0; n < 50; n++) await w.put(`k${n}`, MIB);
    const job = jobOf(w);
    await w.clock.settle(job.round());
    await job.pause();
    const calls = w.node('node-0').calls.get('verify');
    const again = jobOf(w);
    await again.restore();
    for (const one of [job, again]) {
      for (let n = 0; n < 10; n++) {
        await w.clock.settle(one.round());
        await w.clock.advance(1000);
      }
      assert.equal(one.status().state, 'paused');
    }
    assert.equal(w.node('node-0').calls.get('verify'), calls);
    await again.resume();
    await pass(w, again);
  });

  it('leaves groups alone that are being moved', async () => {
    const w = await healingWorld(6);
    const nodes = [...w.nodes.keys()].map((id) => ({ id, zone: id, weight: 1 }));
    const groups = w.layout().groups;
    const before = planLayout({ epoch: 1, groups, nodes: nodes.slice(0, 3) });
    w.setLayout(before);
    for (let n = 0; n < 50; n++) await w.put(`k${n}`, 100);
    w.setLayout(planLayout({ epoch: 2, groups, nodes, previous: before }), [before]);
    await pass(w, jobOf(w));
    assert.deepEqual(await repairsOf(w), []);
  });
});
