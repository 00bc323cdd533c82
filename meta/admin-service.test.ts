import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobName, JobStatus } from './admin-protocol.ts';
import { type AdminParts, createAdminService } from './admin-service.ts';
import type { Job } from './jobs/job.ts';

function job(name: JobName, rates: number[] | undefined): Job & { said: string[] } {
  const said: string[] = [];
  const status: JobStatus = {
    name,
    state: 'idle',
    done: 0,
    total: undefined,
    unit: 'blocks',
    rate: 0,
    etaMs: undefined,
    lastFinishedMs: undefined,
    counts: {},
    problem: undefined,
  };
  const say = (word: string): Promise<void> => {
    said.push(word);
    return Promise.resolve();
  };
  return {
    said,
    status: () => status,
    run: () => void said.push('run'),
    pause: () => say('pause'),
    resume: () => say('resume'),
    ...(rates === undefined
      ? {}
      : {
          setRate(rate: number): Promise<void> {
            rates.push(rate);
            return Promise.resolve();
          },
        }),
  };
}

const never = () => Promise.reject(new Error('not asked in this test'));

function service(jobs: Job[]) {
  const view = { clusterId: 'c', revision: 1, layout: undefined, previous: [], nodes: [] };
  const parts: AdminParts = {
    meta: {
      status: () =>
        Promise.resolve({
          clusterId: 'c',
          view,
          writers: 0,
          queues: { garbage: 0, repair: 0 },
          buckets: 0,
        }),
    },
    usage: () => Promise.resolve({ objects: 3, bytes: 5 }),
    membership: {
      nodes: () => Promise.resolve([]),
      layout: never,
      stageLayout: never,
      applyLayout: never,
      revertLayout: never,
    },
    jobs,
    histogram: () => Promise.resolve({ whole: 1, missingOne: 0, missingTwo: 0, lost: 0 }),
    inspect: { locateObject: never, startFsck: never, fsckReport: never },
    journal: undefined,
    accounts: {
      createAccount: never,
      listAccounts: never,
      deleteAccount: never,
      createAccessKey: never,
      deleteAccessKey: never,
    },
    dataKeys: { walkDataKeys: never, rewrapDataKeys: never },
    buckets: { listBuckets: never, bucketInfo: never, setBucketQuota: never },
  };
  return createAdminService(parts);
}

test('the status joins what everybody knows, with a judgement', async () => {
  const status = await service([job('repair', [])]).adminStatus();
  assert.equal(status.healthy, false);
  assert.match(status.sentence, /^Waiting for storage nodes/);
  assert.deepEqual(status.usage, { objects: 3, bytes: 5 });
  assert.equal(status.replicas.whole, 1);
  assert.equal(status.journal.mode, 'off');
  assert.deepEqual(
    status.jobs.map(({ name }) => name),
    ['repair'],
  );
});

test('a job is run, paused, resumed and given a rate; one without a rate says so', async () => {
  const rates: number[] = [];
  const repair = job('repair', rates);
  const garbage = job('garbage', undefined);
  const admin = service([repair, garbage]);
  for (const action of ['run', 'pause', 'resume'] as const) {
    await admin.controlJob({ name: 'repair', action });
  }
  await admin.controlJob({ name: 'repair', action: 'run', rate: 7 });
  assert.deepEqual(repair.said, ['run', 'pause', 'resume', 'run']);
  assert.deepEqual(rates, [7]);
  const refused = admin.controlJob({ name: 'garbage', action: 'run', rate: 7 });
  await assert.rejects(refused, { kind: 'invalid', message: /no rate/ });
  assert.deepEqual(garbage.said, []);
});

test('without a journal there are no snapshots and no backups, and the answer says why', async () => {
  const admin = service([]);
  await assert.rejects(admin.controlJob({ name: 'snapshot', action: 'run' }), /journal is off/);
  await assert.rejects(admin.createBackup({ folder: '/b' }), /set meta.journal/);
  assert.equal((await admin.journal()).mode, 'off');
});
