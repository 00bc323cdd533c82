import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type BlobId, makeBlobId, placementGroup } from '../../base/ids.ts';
import { endLease, WRITER } from '../catalogue/test-support.ts';
import type { BlobRef } from '../protocol.ts';
import { OrphanJob, type OrphanLimits } from './orphans.ts';
import { contentOf, type HealingWorld, healingWorld } from './test-support.ts';

const HURRY: Partial<OrphanLimits> = { walkMs: 1000, pagePauseMs: 0 };

function jobOf(w: HealingWorld, limits: Partial<OrphanLimits> = HURRY): OrphanJob {
  return new OrphanJob({ ...w.parts, limits });
}

async function rounds(w: HealingWorld, job: OrphanJob, count: number) {
  for (let round = 0; round < count; round++) {
    await w.clock.settle(job.round());
    await w.clock.advance(100);
  }
}

/** Blocks of an upload that was never committed, on every node. */
function leftover(w: HealingWorld, writer: number, sequence: number): BlobId {
  const blob = makeBlobId(writer, sequence);
  const key = { group: placementGroup(blob, 0, w.layout().groups), blob, index: 0 };
  for (const node of w.nodes.values()) node.store(key, Buffer.from('left over'));
  return blob;
}

const stored = (w: HealingWorld): number =>
  [...w.nodes.values()].reduce((sum, { blocks }) => sum + blocks.size, 0);

function renew(w: HealingWorld, lowestSequence: number, oldestRead = w.reclamation.epoch): void {
  const marks = { lowestSequence, oldestRead, oldestLayout: 1 };
  w.leases.renew(WRITER, marks, w.clock.monotonic());
}

describe('the orphan job', () => {
  it('removes what no row refers to when its writer is gone or past it, and nothing else', async () => {
    const w = await healingWorld(4);
    const refs: BlobRef[] = [];
    for (let n = 0; n < 10; n++) refs.push(await w.put(`k${n}`, 3_000_000));
    const good = stored(w);
    leftover(w, WRITER + 1, 5);
    leftover(w, WRITER, 900);
    leftover(w, WRITER, 1000);
    const job = jobOf(w);
    renew(w, 1000);
    await rounds(w, job, 50);
    // Its epoch is still unknown to the gateway.
    assert.equal(stored(w), good + 12);
    assert.ok((job.status().counts['waitingForReaders'] ?? 0) > 0);
    renew(w, 1000);
    await rounds(w, job, 2);
    assert.equal(stored(w), good + 4);
    renew(w, 1001);
    await rounds(w, job, 30);
    renew(w, 1001);
    await rounds(w, job, 30);
    assert.equal(stored(w), good);
    for (const ref of refs) assert.equal(w.soundReplicas(ref), 3 * w.placed(ref).length);
    assert.equal(job.status().counts['removed'], 12);
    assert.ok(job.status().lastFinishedMs !== undefined);
  });

  it('goes on after a restart with the groups that it had not come to', async () => {
    const w = await healingWorld();
    const limits = { walkMs: 3_600_000, pagePauseMs: 100, saveMs: 0 };
    for (let n = 0; n < 20; n++) await w.put(`k${n}`, 100);
    const job = jobOf(w, limits);
    renew(w, 1000);
    await rounds(w, job, 8);
    const { done, total } = job.status();
    assert.ok(done > 0 && total !== undefined && done < total, `${done} of ${total}`);
    const lists = () => [...w.nodes.values()].map(({ calls }) => calls.get('list') ?? 0);
    const again = jobOf(w, limits);
    await again.restore();
    assert.equal(again.status().state, 'running');
    assert.equal(again.status().done, done);
    const before = lists();
    await rounds(w, again, 200);
    assert.equal(again.status().state, 'idle');
    const { groups } = w.layout();
    for (const [index, calls] of lists().entries())
      assert.ok(calls - (before[index] ?? 0) < groups);
    // A third one knows that the walk is over, and begins none before its time.
    const third = jobOf(w, limits);
    await third.restore();
    await rounds(w, third, 3);
    assert.equal(third.status().state, 'idle');
    assert.equal(third.status().lastFinishedMs, again.status().lastFinishedMs);
  });

  it('judges nothing by a writer that has not reported since the start', async () => {
    const w = await healingWorld();
    leftover(w, WRITER, 1);
    const job = jobOf(w);
    await rounds(w, job, 60);
    assert.equal(stored(w), 3);
    assert.equal(job.status().counts['orphaned'], 0);
  });

  it('asks for the mark before the row: a commit between the two keeps its blocks', async () => {
    const w = await healingWorld();
    const blob = leftover(w, WRITER, 50);
    renew(w, 50);
    const get: typeof w.parts.blobs.get = async (ids) => {
      const rows = await w.parts.blobs.get([...ids, blob]);
      const data = { kind: 'blob' as const, blob, size: 9, blockSize: 1024 };
      const object = { ...w.world.object(9), data };
      if (rows.at(-1) === undefined) {
        const put = { writer: WRITER, bucket: 'b', key: 'k', object, missing: [] };
        await w.world.catalogue.putObject(put);
      }
      renew(w, 51);
      return rows.slice(0, -1);
    };
    const job = new OrphanJob({ ...w.parts, blobs: { get }, limits: HURRY });
    await rounds(w, job, 30);
    assert.equal(job.status().counts['orphaned'], 0);
    assert.equal(stored(w), 3);
  });

  it('takes no block from a read that began before its blob was deleted', async () => {
    const w = await healingWorld();
    await w.put('k', 10);
    const before = w.reclamation.epoch;
    renew(w, 100, before);
    await w.remove('k');
    const job = jobOf(w);
    for (let time = 0; time < 5; time++) {
      // The read still runs, whatever epochs have come since.
      renew(w, 100, before);
      await rounds(w, job, 10);
    }
    assert.equal(stored(w), 3);
    renew(w, 100);
    await rounds(w, job, 2);
    assert.equal(stored(w), 0);
  });

  it('passes over a node that is away, and comes back to it', async () => {
    const w = await healingWorld();
    leftover(w, WRITER + 1, 5);
    renew(w, 100);
    w.down.add('node-0');
    w.node('node-1').fault = 'unavailable';
    const job = jobOf(w);
    await rounds(w, job, 8);
    renew(w, 100);
    await rounds(w, job, 8);
    assert.deepEqual(
      [...w.nodes.values()].map((node) => node.blocks.size),
      [1, 1, 0],
    );
    w.down.clear();
    w.node('node-1').fault = 'none';
    await rounds(w, job, 20);
    renew(w, 100);
    await rounds(w, job, 20);
    assert.equal(stored(w), 0);
  });

  it('walks at its pace, at once when asked, and not at all while it is paused', async () => {
    const w = await healingWorld();
    const job = jobOf(w, { walkMs: 1e9, pagePauseMs: 1000 });
    leftover(w, WRITER + 1, 5);
    await w.clock.settle(job.round());
    await rounds(w, job, 5);
    const began = job.status().done;
    assert.ok(began > 0 && began < 3 * 64, String(began));
    await job.pause();
    await rounds(w, job, 50);
    assert.equal(job.status().done, began);
    const again = jobOf(w, { walkMs: 1e9, pagePauseMs: 1000 });
    await again.restore();
    assert.equal(again.status().state, 'paused');
    await job.resume();
    job.run();
    await rounds(w, job, 10);
    renew(w, 1);
    await rounds(w, job, 1);
    assert.equal(stored(w), 0);
    assert.equal(job.status().state, 'idle');
  });
});

/* ------------------------------------------------------------------ races */

type Step = 'commit' | 'drop' | 'delete' | 'renew' | 'round' | 'fence';

/**
 * A gateway that writes, commits, gives up, deletes and reports, and the job, all at once; the
 * scheduler decides who goes first at every access to a node or the store.
 */
async function race(s: fc.Scheduler, steps: Step[]): Promise<void> {
  let turns = false;
  const turn = async (): Promise<void> => {
    if (turns) await s.schedule(Promise.resolve());
  };
  const w = await healingWorld(3, turn, 3);
  for (const node of w.nodes.values()) node.before = turn;
  turns = true;
  // Answers take their time as well as questions: what was read may be old when it arrives.
  const get: typeof w.parts.blobs.get = async (ids) => {
    const rows = await w.parts.blobs.get(ids);
    await turn();
    return rows;
  };
  const limits = { walkMs: 0, pagePauseMs: 0 };
  const job = new OrphanJob({ ...w.parts, blobs: { get }, limits });
  const standing = new Set<string>();
  const inFlight = new Set<number>();
  let next = 1;
  let fenced = false;
  const mark = () => Math.min(next, ...inFlight);

  const write = async (commits: boolean): Promise<void> => {
    if (fenced) return;
    const sequence = next++;
    inFlight.add(sequence);
    const ref: BlobRef = { blob: makeBlobId(WRITER, sequence), size: 10, blockSize: 2 ** 20 };
    const group = placementGroup(ref.blob, 0, w.layout().groups);
    for (const node of w.nodes.values()) {
      await turn();
      node.store({ group, blob: ref.blob, index: 0 }, contentOf(ref, 0));
    }
    if (commits) {
      const object = w.world.object(10);
      const put = {
        writer: WRITER,
        bucket: 'b',
        key: ref.blob,
        object: { ...object, data: { kind: 'blob' as const, ...ref } },
        missing: [],
      };
      try {
        const answer = await w.world.catalogue.putObject(put);
        if (answer.ok) standing.add(ref.blob);
      } catch {
        // Fenced: it was not committed.
      }
    }
    inFlight.delete(sequence);
  };
  const renewal = async (): Promise<void> => {
    const marks = { lowestSequence: mark(), oldestRead: w.reclamation.epoch, oldestLayout: 1 };
    // On its way: what is reported is never newer than what arrives.
    await turn();
    if (!fenced) w.leases.renew(WRITER, marks, 0);
  };
  const removeOne = async (): Promise<void> => {
    const [blob] = standing;
    if (blob === undefined) return;
    standing.delete(blob);
    await w.world.catalogue.deleteObject({ bucket: 'b', key: blob });
  };
  const fence = async (): Promise<void> => {
    fenced = true;
    w.leases.end(WRITER);
    await turn();
    await endLease(w.world.store, WRITER);
    w.leases.forget(WRITER);
  };
  const run: Record<Step, () => Promise<void>> = {
    commit: () => write(true),
    drop: () => write(false),
    delete: removeOne,
    renew: renewal,
    fence,
    // One round at a time, as the loop does it.
    round: () => (rounding = rounding.then(() => job.round()).then(() => {})),
  };
  let rounding: Promise<void> = Promise.resolve();
  const all = Promise.all(steps.map((step) => run[step]()));
  await s.waitFor(all);
  const check = (what: string): void => {
    for (const blob of standing) {
      const ref = { blob: blob as BlobId, size: 10, blockSize: 2 ** 20 };
      assert.equal(w.soundReplicas(ref), 3, `${what}: ${blob}`);
    }
  };
  check('during the race');
  turns = false;
  for (let round = 0; round < 20; round++) {
    await renewal();
    await job.round();
    await w.clock.advance(10);
  }
  check('after it');
  assert.equal(stored(w), 3 * standing.size, 'everything else is gone');
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Step>('commit') },
  { weight: 2, arbitrary: fc.constant<Step>('drop') },
  { weight: 1, arbitrary: fc.constant<Step>('delete') },
  { weight: 4, arbitrary: fc.constant<Step>('renew') },
  { weight: 8, arbitrary: fc.constant<Step>('round') },
);

it('orphans are removed while a writer races, and nothing that was committed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(step, { minLength: 4, maxLength: 24 }),
      fc.boolean(),
      async (s, steps, ends) => {
        const all: Step[] = ends ? [...steps, 'fence', 'round', 'round'] : steps;
        await race(s, all);
      },
    ),
    { numRuns: 300 },
  );
});
