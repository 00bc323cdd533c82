import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../base/failure.ts';
import type { Commit, CommitResult, KeyValueStore } from '../engine/kv.ts';
import { createMemoryStore } from '../engine/memory.ts';
import {
  checkInvariants,
  createWorld,
  OWNER,
  refusal,
  value,
  WRITER,
  type World,
} from './test-support.ts';
import { createTurns } from './turns.ts';

/** A world whose store commits by `commit`, once the bucket is there. */
async function worldThat(
  commit: (inner: KeyValueStore, commit: Commit) => Promise<CommitResult>,
): Promise<World> {
  const inner = createMemoryStore();
  let ready = false;
  const store = {
    ...inner,
    commit: (one: Commit) => (ready ? commit(inner, one) : inner.commit(one)),
  };
  const w = await createWorld({ store });
  value(await w.catalogue.createBucket({ name: 'b', owner: OWNER, region: 'r' }));
  ready = true;
  return w;
}

function put(w: World, condition?: { ifNoneMatch: '*' }) {
  const command = { writer: WRITER, bucket: 'b', key: 'k', object: w.object(10), missing: [] };
  return w.catalogue.putObject(condition === undefined ? command : { ...command, condition });
}

const lost = () => new Failure('unknown-outcome', 'the connection broke');

test('a commit whose answer was lost is found to have happened', async () => {
  const w = await worldThat(async (inner, commit) => {
    await inner.commit(commit);
    throw lost();
  });
  const { version } = value(await put(w, { ifNoneMatch: '*' }));
  const found = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.equal(found.object.version, version);
  await checkInvariants(w.store);
});

test('a commit that was lost is not reported as done', async () => {
  const w = await worldThat(async () => {
    throw lost();
  });
  await assert.rejects(put(w), { kind: 'unknown-outcome' });
  assert.equal(refusal(await w.catalogue.getObject({ bucket: 'b', key: 'k' })), 'NoSuchKey');
});

test('a write that loses every race is refused as a conflict, and leaves nothing', async () => {
  let commits = 0;
  const w = await worldThat(async () => {
    commits += 1;
    return { committed: false, failed: [0] };
  });
  assert.equal(refusal(await put(w)), 'OperationAborted');
  assert.equal(refusal(await put(w, { ifNoneMatch: '*' })), 'ConditionalRequestConflict');
  assert.ok(commits > 10 && commits < 200, `${commits} commits`);
  const keys = [{ key: 'x' }];
  const deleted = value(await w.catalogue.deleteObjects({ bucket: 'b', keys }));
  assert.deepEqual(value(deleted[0] ?? assert.fail()), { existed: false });
  await checkInvariants(w.store);
});

test('DeleteObjects deletes what it can when one of the keys is fought over', async () => {
  let fights = 30;
  const w = await worldThat(async (inner, commit) => {
    const fought = commit.del.some((key) => Buffer.from(key).includes('hot'));
    if (fought && fights > 0) {
      fights -= 1;
      return { committed: false, failed: [0] };
    }
    return inner.commit(commit);
  });
  const keys = ['hot', 'one', 'two'].map((key) => ({ key }));
  for (const { key } of keys) await w.put('b', key);
  const answers = value(await w.catalogue.deleteObjects({ bucket: 'b', keys }));
  for (const answer of answers) assert.deepEqual(value(answer), { existed: true });
  await checkInvariants(w.store);
});

test('DeleteObjects does nothing twice when the bucket changes in between', async () => {
  let change: (() => Promise<unknown>) | undefined;
  const w = await worldThat(async (inner, commit) => {
    const result = await inner.commit(commit);
    const marks = commit.set.length > 100;
    if (marks) {
      const run = change;
      change = undefined;
      await run?.();
    }
    return result;
  });
  const { catalogue } = w;
  const bucket = 'b';
  value(await catalogue.setVersioning({ bucket, versioning: 'Enabled' }));
  const { id, revision } = value(await catalogue.getBucket({ bucket }));
  const keys = Array.from({ length: 300 }, (_, index) => ({ key: `k${index}` }));
  change = () => catalogue.setBucketConfig({ bucket, name: 'cors', value: '[]' });
  const command = { bucket, keys, expect: { id, revision } };
  const answers = value(await catalogue.deleteObjects(command));
  const done = answers.filter(({ ok }) => ok).length;
  assert.ok(done > 0 && done < keys.length, `${done} keys`);
  for (const answer of answers.slice(done)) assert.equal(refusal(answer), 'BucketChanged');
  const query = { bucket, prefix: '', limit: 1000 };
  const { versions } = value(await catalogue.listVersions(query));
  assert.equal(versions.length, done);
  assert.equal(refusal(await catalogue.deleteObjects(command)), 'BucketChanged');
});

test('turns go in the order of arrival, by name, and never wait for each other in a circle', async () => {
  const turns = createTurns();
  const seen: string[] = [];
  const work = (name: string) => async () => {
    seen.push(`${name} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(`${name} ends`);
  };
  await Promise.all([
    turns.take(['a', 'b'], work('1')),
    turns.take(['b', 'a', 'b'], work('2')),
    turns.take(['b'], work('3')),
    turns.take([], work('free')),
  ]);
  const withoutFree = seen.filter((line) => !line.startsWith('free'));
  for (let index = 0; index < withoutFree.length; index += 2) {
    const [begins = '', ends = ''] = withoutFree.slice(index, index + 2);
    assert.equal(begins.split(' ')[0], ends.split(' ')[0], 'one at a time');
  }
  assert.ok(seen.indexOf('1 ends') < seen.indexOf('2 begins'));
  await assert.rejects(turns.take(['a'], async () => Promise.reject(new Error('no'))));
  assert.equal(await turns.take(['a'], async () => 'next'), 'next');
});
