import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer, Bucket, Meta } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { BUCKET, isCode, refused } from '../operations/testing-context.ts';
import { BucketSettings, createSettingsSource } from './bucket-settings.ts';
import { type BucketJudge, Guard, guardMeta } from './guard.ts';

/** A bucket that others change: the calls count as the metadata service would count them. */
function changing() {
  const state: { bucket: Bucket; values: Record<string, string>; loads: number } = {
    bucket: BUCKET,
    values: { policy: 'open' },
    loads: 0,
  };
  const meta = {
    getBucketSettings() {
      state.loads++;
      return Promise.resolve({ ok: true, value: { bucket: state.bucket, values: state.values } });
    },
    getBucket({ expect }: { expect?: { revision: number } }): Promise<Answer<Bucket>> {
      const stale = expect !== undefined && expect.revision !== state.bucket.revision;
      if (stale) return refused('BucketChanged');
      return Promise.resolve({ ok: true, value: state.bucket });
    },
  } as unknown as Meta;
  return {
    state,
    meta,
    change(values: Record<string, string>) {
      state.bucket = { ...state.bucket, revision: state.bucket.revision + 1 };
      state.values = values;
    },
  };
}

const allowOpen: BucketJudge = {
  judge(settings) {
    if (settings.text('policy') !== 'open') throw new S3Error('AccessDenied');
  },
  awaitsObject: () => false,
  awaitsUpload: () => false,
  object: () => undefined,
  upload: () => undefined,
  settled: () => true,
};

async function admitted(meta: Meta) {
  const source = createSettingsSource(meta);
  const answer = await source.get(BUCKET.name);
  assert.ok(answer.ok);
  const guard = new Guard(source);
  await guard.admit(answer.value, allowOpen);
  return { source, guard, meta: guardMeta(meta, guard) };
}

test('settings are read once while the bucket stays as it is', async () => {
  const { state, meta } = changing();
  const { source } = await admitted(meta);
  await source.get(BUCKET.name);
  assert.equal(state.loads, 1);
});

test('a step in a changed bucket is done when the request may still do it', async () => {
  const { state, meta, change } = changing();
  const request = await admitted(meta);
  change({ policy: 'open', cors: 'x' });
  const answer = await request.meta.getBucket({ bucket: BUCKET.name });
  assert.ok(answer.ok);
  assert.equal(state.loads, 2);
  assert.equal(request.guard.settings(BUCKET.name)?.text('cors'), 'x');
});

test('a step is refused when the bucket was closed after the request was judged', async () => {
  const { meta, change } = changing();
  const request = await admitted(meta);
  change({});
  await assert.rejects(request.meta.getBucket({ bucket: BUCKET.name }), isCode('AccessDenied'));
});

test('a request is not refused by what was kept when the bucket has been opened since', async () => {
  const { state, meta, change } = changing();
  change({});
  const source = createSettingsSource(meta);
  await source.get(BUCKET.name);
  change({ policy: 'open' });
  const kept = await source.get(BUCKET.name);
  assert.ok(kept.ok && kept.value.text('policy') === undefined);
  const guard = new Guard(source);
  await guard.admit(kept.value, allowOpen);
  assert.equal(guard.settings(BUCKET.name)?.text('policy'), 'open');
  assert.equal(state.loads, 2);
});

test('a request that is refused by what is stored, too, is refused', async () => {
  const { state, meta, change } = changing();
  change({});
  const source = createSettingsSource(meta);
  const kept = await source.get(BUCKET.name);
  assert.ok(kept.ok);
  const guard = new Guard(source);
  await assert.rejects(guard.admit(kept.value, allowOpen), isCode('AccessDenied'));
  change({ cors: 'x' });
  await assert.rejects(guard.admit(kept.value, allowOpen), isCode('AccessDenied'));
  assert.equal(guard.settings(BUCKET.name), undefined);
  assert.equal(state.loads, 3);
  const gone = { ...meta, getBucketSettings: () => refused('NoSuchBucket') } as unknown as Meta;
  const left = new Guard(createSettingsSource(gone));
  await assert.rejects(left.admit(kept.value, allowOpen), isCode('NoSuchBucket'));
});

test('a bucket that never stands still is given up', async () => {
  const { meta, change } = changing();
  const request = await admitted(meta);
  const restless: Meta = {
    ...meta,
    getBucketSettings: (query) => {
      const answer = meta.getBucketSettings(query);
      change({ policy: 'open' });
      return answer;
    },
  };
  change({ policy: 'open' });
  const guard = new Guard(createSettingsSource(restless));
  await guard.admit(new BucketSettings(BUCKET, { policy: 'open' }), allowOpen);
  const answer = await guardMeta(restless, guard).getBucket({ bucket: BUCKET.name });
  assert.deepEqual(answer, { ok: false, refusal: 'BucketChanged' });
  assert.ok((await request.meta.getBucket({ bucket: BUCKET.name })).ok);
});

test('a configuration is parsed once per revision', () => {
  const settings = new BucketSettings(BUCKET, { cors: '[1]' });
  let parses = 0;
  const parse = (text: string) => {
    parses++;
    return JSON.parse(text) as number[];
  };
  assert.deepEqual(settings.parsed('cors', parse), [1]);
  assert.deepEqual(settings.parsed('cors', parse), [1]);
  assert.equal(settings.parsed('policy', parse), undefined);
  assert.equal(parses, 1);
});
