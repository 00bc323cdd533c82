/**
 * Commands that run at once. fast-check's scheduler orders their accesses to the store, so that a
 * seed replays a race; two catalogues over one store are two metadata servers, between which only
 * the checks of the commits stand.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { leaseKey } from '../cluster/rows.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import { createMemoryStore } from '../engine/memory.ts';
import type { Answer, Refusal, Upload } from '../protocol.ts';
import type { Catalogue } from './catalogue.ts';
import { COMPLETED_KEEP_MS } from './complete.ts';
import {
  checkInvariants,
  checkNothingLeft,
  createWorld,
  drainGarbage,
  endLease,
  freshPart,
  OWNER,
  refusal,
  value,
  WRITER,
  type World,
} from './test-support.ts';
import { underAllOrders } from './test-support-races.ts';

function put(w: World, server: Catalogue, key: string, ifNoneMatch = false) {
  const object = w.object(10);
  const command = { writer: WRITER, bucket: 'b', key, object, missing: [] };
  return server.putObject(ifNoneMatch ? { ...command, condition: { ifNoneMatch: '*' } } : command);
}

function refusals(answers: Answer<unknown>[]): Refusal[] {
  return answers.filter((answer) => !answer.ok).map(refusal);
}

function get(server: Catalogue, key: string) {
  return server.getObject({ bucket: 'b', key, withParts: true });
}

async function upload(w: World, numbers: number[], key = 'k') {
  const made = value(
    await w.catalogue.createUpload({ bucket: 'b', key, owner: OWNER, system: {}, user: {} }),
  );
  const parts: { number: number; etag: string }[] = [];
  for (const number of numbers) {
    const part = freshPart(w, made, number, 5 * 1024 * 1024);
    value(await w.catalogue.putPart(part));
    parts.push({ number, etag: part.etag });
  }
  const { bucket, uploadId } = made;
  return { upload: made, name: { bucket, key, uploadId }, parts };
}

test('of racing creates with If-None-Match exactly one succeeds', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const answers = await together(
      ...[one, two, one, two, one].map((server) => () => put(w, server, 'k', true)),
    );
    assert.equal(answers.filter((answer) => answer.ok).length, 1);
    assert.deepEqual(new Set(refusals(answers)), new Set(['PreconditionFailed']));
    const [winner] = answers.filter((answer) => answer.ok);
    const found = value(await get(w.catalogue, 'k'));
    assert.equal(winner?.ok && winner.value.version, found.object.version);
  });
});

test('counters kept by If-Match lose no step, and no step is taken twice', async () => {
  await underAllOrders(async ({ w, servers, together }) => {
    const write = (server: Catalogue, count: number, ifMatch?: string) => {
      const object = w.object(0, { user: { count: String(count) } });
      const base = { writer: WRITER, bucket: 'b', key: 'count', object, missing: [] };
      return server.putObject(ifMatch === undefined ? base : { ...base, condition: { ifMatch } });
    };
    value(await write(w.catalogue, 0));
    const worker = async (server: Catalogue) => {
      let steps = 0;
      for (let tries = 0; tries < 4; tries++) {
        const { object } = value(await get(server, 'count'));
        const next = Number(object.user['count']) + 1;
        const answer = await write(server, next, object.etag);
        if (answer.ok) steps += 1;
        else assert.equal(answer.refusal, 'PreconditionFailed');
      }
      return steps;
    };
    const steps = await together(...[...servers, ...servers].map((server) => () => worker(server)));
    const { object } = value(await get(w.catalogue, 'count'));
    const taken = steps.reduce((sum, count) => sum + count, 0);
    assert.equal(Number(object.user['count']), taken);
    assert.ok(taken >= 4);
  }, 60);
});

test('nothing is committed under a lease that has ended', async () => {
  const seen = new Set<boolean>();
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), async (scheduler) => {
      const inner = createMemoryStore();
      let racing = false;
      const pause = async () => {
        if (racing) await scheduler.schedule(Promise.resolve());
      };
      // Looks for the lease in the very moment of each commit that names a blob.
      const watched: KeyValueStore = {
        ...inner,
        commit: async (commit) => {
          const lease = inner.get([leaseKey(WRITER)]);
          const result = await inner.commit(commit);
          const names = commit.set.some((row) => row.key[0] === 'b'.charCodeAt(0));
          if (names && result.committed) assert.notEqual((await lease)[0], null);
          return result;
        },
      };
      const w = await createWorld({ pause, store: watched });
      value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
      const source = await w.put('b', 'source');
      const { object } = value(await get(w.catalogue, 'source'));
      assert.ok(source.data.kind === 'blob');
      const { upload: made } = await upload(w, []);
      const version = { bucket: 'b', key: 'source', version: object.version };
      racing = true;
      const attempts = [
        put(w, w.catalogue, 'x'),
        w.catalogue.putPart(freshPart(w, made, 1, 10)),
        w.catalogue.copyObject({
          writer: WRITER,
          source: version,
          bucket: 'b',
          key: 'y',
          owner: OWNER,
        }),
      ].map(async (one) => {
        const [settled] = await Promise.allSettled([one]);
        if (settled.status === 'rejected') assert.equal(settled.reason.kind, 'fenced');
        seen.add(settled.status === 'fulfilled');
      });
      const end = pause().then(() => endLease(inner, WRITER));
      await scheduler.waitFor(Promise.all([...attempts, end]));
      racing = false;
      await checkInvariants(inner);
    }),
    { numRuns: 100 },
  );
  assert.equal(seen.size, 2, 'both outcomes were seen');
});

test('CompleteMultipartUpload that is sent thrice at once completes once and answers alike', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const { name, parts } = await upload(w, [1, 2, 3]);
    const answers = await together(
      ...[one, two, one].map((server) => () => server.completeUpload({ ...name, parts })),
    );
    assert.deepEqual(value(answers[0] ?? assert.fail()), value(answers[1] ?? assert.fail()));
    assert.deepEqual(value(answers[0] ?? assert.fail()), value(answers[2] ?? assert.fail()));
    const found = value(await get(two, 'k'));
    assert.equal(found.object.version, value(answers[0] ?? assert.fail()).version);
  });
});

test('of Complete and Abort exactly one wins', async () => {
  const winners = new Set<string>();
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const { name, parts } = await upload(w, [1, 2]);
    const [completed, aborted] = await together<Answer<unknown>>(
      () => one.completeUpload({ ...name, parts }),
      () => two.abortUpload(name),
    );
    assert.ok(completed !== undefined && aborted !== undefined);
    assert.notEqual(completed.ok, aborted.ok);
    assert.deepEqual(refusals([completed, aborted]), ['NoSuchUpload']);
    assert.equal((await get(one, 'k')).ok, completed.ok);
    winners.add(completed.ok ? 'complete' : 'abort');
  });
  assert.equal(winners.size, 2, 'both orders were seen');
});

test('a part that races Complete is in the object, or was too late, or makes Complete fail', async () => {
  const seen = new Set<string>();
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const { upload: made, name, parts } = await upload(w, [1, 2]);
    const late = freshPart(w, made, 2, 7);
    const [completed, added] = await together<Answer<unknown>>(
      () => one.completeUpload({ ...name, parts }),
      () => two.putPart(late),
    );
    assert.ok(completed !== undefined && added !== undefined);
    if (completed.ok) {
      const found = value(await get(one, 'k'));
      assert.deepEqual(
        found.parts?.map((part) => part.etag),
        parts.map((part) => part.etag),
      );
      assert.deepEqual(refusals([added]), ['NoSuchUpload']);
    } else {
      assert.equal(completed.refusal, 'InvalidPart');
      assert.ok(added.ok);
    }
    seen.add(completed.ok ? 'complete' : 'part');
  });
  assert.equal(seen.size, 2, 'both orders were seen');
});

test('a part in the same process waits for a Complete that is then refused, and is taken', async () => {
  await underAllOrders(async ({ w, together }) => {
    value(await put(w, w.catalogue, 'k'));
    const { upload: made, name, parts } = await upload(w, [1, 2]);
    const condition = { ifNoneMatch: '*' as const };
    const [completed, added] = await together<Answer<unknown>>(
      () => w.catalogue.completeUpload({ ...name, parts, condition }),
      () => w.catalogue.putPart(freshPart(w, made, 3, 7)),
    );
    assert.equal(refusal(completed ?? assert.fail()), 'PreconditionFailed');
    assert.ok(added?.ok);
  });
});

test('DeleteBucket succeeds exactly when none of the racing writes did', async () => {
  const seen = new Set<boolean>();
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const { name, parts } = await upload(w, [1]);
    const [deleted, ...written] = await together<Answer<unknown>>(
      () => one.deleteBucket({ bucket: 'b' }),
      () => put(w, one, 'x'),
      () => put(w, two, 'y'),
      () => two.completeUpload({ ...name, parts }),
    );
    assert.ok(deleted !== undefined);
    seen.add(deleted.ok);
    if (deleted.ok) {
      assert.deepEqual(refusals(written), ['NoSuchBucket', 'NoSuchBucket', 'NoSuchBucket']);
      assert.deepEqual(refusals([await one.getBucket({ bucket: 'b' })]), ['NoSuchBucket']);
    } else {
      assert.ok(written.every((answer) => answer.ok));
      assert.ok(['BucketNotEmpty', 'OperationAborted'].includes(deleted.refusal));
    }
  }, 400);
  assert.equal(seen.size, 2, 'both outcomes were seen');
});

test('CreateBucket from all sides gives the name to one, and each bucket its own number', async () => {
  await underAllOrders(async ({ servers, together }) => {
    const make = (server: Catalogue, name: string) => () =>
      server.createBucket({ name, owner: OWNER, region: 'r' });
    const [one, two] = servers;
    const answers = await together(
      make(one, 'x'),
      make(two, 'x'),
      make(one, 'y'),
      make(two, 'z'),
      make(two, 'x'),
    );
    assert.deepEqual(refusals(answers), ['BucketAlreadyOwnedByYou', 'BucketAlreadyOwnedByYou']);
    const ids = answers.flatMap((answer) => (answer.ok ? [answer.value.id] : []));
    assert.equal(new Set(ids).size, 3);
  });
});

test('a copy that races the deletion of its source is whole or refused, while garbage is collected', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const object = await w.put('b', 'source', 10);
    const { name, parts } = await upload(w, [1, 2], 'multi');
    value(await one.completeUpload({ ...name, parts }));
    assert.ok(object.data.kind === 'blob');
    const { data } = object;
    const copy = async (server: Catalogue, from: string): Promise<Answer<unknown>> => {
      const found = await get(server, from);
      if (!found.ok) return found;
      const source = { bucket: 'b', key: from, version: found.value.object.version };
      return server.copyObject({
        writer: WRITER,
        source,
        bucket: 'b',
        key: `${from}-2`,
        owner: OWNER,
      });
    };
    const open = await upload(w, [], 'open');
    const share = { ...open.name, writer: WRITER, number: 1, size: 10, etag: object.etag };
    const [simple, multi, shared] = await together<Answer<unknown>>(
      () => copy(one, 'source'),
      () => copy(two, 'multi'),
      () => two.putPart({ ...share, missing: [], data: { ...data, kind: 'reference' } }),
      () => two.deleteObject({ bucket: 'b', key: 'source' }),
      () => one.deleteObject({ bucket: 'b', key: 'multi' }),
      () => drainGarbage(two).then((removed) => ({ ok: true, value: removed })),
    );
    const legal = new Set(['NoSuchKey', 'SourceChanged']);
    const answers = [simple, multi, shared].filter((answer) => answer !== undefined);
    assert.ok(refusals(answers).every((reason) => legal.has(reason)));
    for (const [answer, key] of [
      [simple, 'source-2'],
      [multi, 'multi-2'],
    ] as const) {
      assert.equal((await get(one, key)).ok, answer?.ok);
    }
  });
});

test('GetObject with parts always finds them, however often the object is replaced and cleaned up', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    const uploads: Awaited<ReturnType<typeof upload>>[] = [];
    for (let index = 0; index < 3; index++) uploads.push(await upload(w, [1, 2]));
    const replace = async () => {
      for (const { name, parts } of uploads) {
        value(await two.completeUpload({ ...name, parts }));
        await drainGarbage(two);
      }
    };
    const read = async () => {
      for (let reads = 0; reads < 6; reads++) {
        const found = await get(one, 'k');
        if (found.ok) assert.equal(found.value.parts?.length, 2);
        else assert.equal(found.refusal, 'NoSuchKey');
      }
    };
    await together(replace, read, read);
  });
});

test('a soup of commands on few keys from two servers leaves a sound store', async () => {
  const commands = fc.array(fc.tuple(fc.nat(9), fc.nat(1), fc.constantFrom('k', 'l')), {
    minLength: 2,
    maxLength: 14,
    size: 'max',
  });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), commands, async (scheduler, steps) => {
      let racing = false;
      const pause = async () => {
        if (racing) await scheduler.schedule(Promise.resolve());
      };
      const w = await createWorld({ pause });
      value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
      const open: Upload[] = [];
      for (const key of ['k', 'l']) open.push((await upload(w, [1, 2], key)).upload);
      const servers = [w.catalogue, w.another(2)];
      racing = true;
      await scheduler.waitFor(
        Promise.all(
          steps.map(([kind, at, key]) => soup(w, servers[at] ?? w.catalogue, kind, key, open)),
        ),
      );
      racing = false;
      await checkInvariants(w.store);
      w.clock.ms += COMPLETED_KEEP_MS;
      await drainGarbage(w.catalogue);
      await checkNothingLeft(w.store);
    }),
    { numRuns: 300 },
  );
});

/** One command; every refusal is ordinary here. */
async function soup(w: World, server: Catalogue, kind: number, key: string, open: Upload[]) {
  const made = open.find((one) => one.key === key) ?? assert.fail();
  const name = { bucket: 'b', key, uploadId: made.uploadId };
  switch (kind) {
    case 0:
      return put(w, server, key);
    case 1:
      return put(w, server, key, true);
    case 2:
      return server.deleteObject({ bucket: 'b', key });
    case 3: {
      const found = await get(server, key);
      if (!found.ok) return found;
      const source = { bucket: 'b', key, version: found.value.object.version };
      const target = key === 'k' ? 'l' : 'k';
      return server.copyObject({ writer: WRITER, source, bucket: 'b', key: target, owner: OWNER });
    }
    case 4:
      return server.deleteObjects({ bucket: 'b', keys: [{ key: 'k' }, { key: 'l' }] });
    case 5:
      return server.putPart(freshPart(w, made, 1, 5 * 1024 * 1024));
    case 6: {
      const page = await server.listParts({ ...name, after: 0, limit: 10 });
      if (!page.ok) return page;
      const parts = page.value.parts.map(({ number, etag }) => ({ number, etag }));
      return server.completeUpload({ ...name, parts });
    }
    case 7:
      return server.abortUpload(name);
    case 8:
      return drainGarbage(server);
    default:
      return server.deleteBucket({ bucket: 'b' });
  }
}
