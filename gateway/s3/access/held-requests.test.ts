/** A request held to what it was judged by: on the record that it reads, in the state that it changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFailure } from '../../../base/failure.ts';
import type {
  Answer,
  ExpectsBucket,
  FoundObject,
  Grant,
  Meta,
  ObjectRecord,
  ObjectState,
  Tag,
  Upload,
} from '../../../meta/protocol.ts';
import type { ObjectEngine, OpenedObject } from '../../object/engine.ts';
import type { AccountDirectory } from '../auth/accounts.ts';
import type { Account } from '../auth/identity.ts';
import { authorize } from '../authorize.ts';
import { BUCKET, isCode, refused, UPLOAD } from '../operations/testing-context.ts';
import { parseQuery } from '../query.ts';
import { encodeAcl } from './acl.ts';
import { createSettingsSource } from './bucket-settings.ts';
import { Guard, GuardedObjects, guardMeta } from './guard.ts';

function person(digit: string): Account {
  return {
    id: digit.repeat(64),
    number: digit.repeat(12),
    displayName: `account ${digit}`,
    root: false,
  };
}

const OWNER = person('1');
const OTHER = person('2');
const PUBLIC: Grant[] = [{ grantee: { group: 'AllUsers' }, permission: 'READ' }];

const DIRECTORY: AccountDirectory = {
  account: (by, value) => Promise.resolve(DIRECTORY.known(by, value)),
  known: (by, value) => [OWNER, OTHER].find((account) => account[by] === value),
  names: () => Promise.resolve(new Map()),
};

const OBJECT: ObjectRecord = {
  version: '0'.repeat(32),
  size: 1,
  etag: 'e',
  modifiedMs: 0,
  owner: OWNER.id,
  data: { kind: 'none' },
  system: {},
  user: {},
};

/** One bucket with one object and one upload, as the metadata service would have them. */
function world(values: Record<string, string> = {}) {
  const state = {
    bucket: { ...BUCKET, owner: OWNER.id },
    values,
    object: OBJECT as ObjectRecord | undefined,
    upload: { ...UPLOAD, owner: OTHER.id } as Upload | undefined,
    calls: [] as string[],
    /** Runs once, before the next change of the object. */
    meanwhile: undefined as (() => void) | undefined,
  };
  const stale = ({ expect }: ExpectsBucket): boolean =>
    expect !== undefined && expect.revision !== state.bucket.revision;
  const told = <T>(
    command: ExpectsBucket,
    value: T | undefined,
    none: 'NoSuchKey' | 'NoSuchUpload',
  ) => {
    if (stale(command)) return refused('BucketChanged');
    const answer: Answer<T> =
      value === undefined ? { ok: false, refusal: none } : { ok: true, value };
    return Promise.resolve(answer);
  };
  const meta = {
    getBucketSettings: () =>
      Promise.resolve({ ok: true, value: { bucket: state.bucket, values: state.values } }),
    getObject(query: ExpectsBucket) {
      state.calls.push('getObject');
      const { bucket, object } = state;
      return told<FoundObject>(query, object && { bucket, object }, 'NoSuchKey');
    },
    setObjectTags(command: ExpectsBucket & { tags: Tag[]; expectObject?: ObjectState }) {
      state.calls.push('setObjectTags');
      state.meanwhile?.();
      state.meanwhile = undefined;
      const { expectObject: seen } = command;
      const { object } = state;
      if (object === undefined) return told(command, undefined, 'NoSuchKey');
      const changed =
        seen && (seen.version !== object.version || seen.revision !== (object.revision ?? 0));
      if (changed) return refused('ObjectChanged');
      return told(command, {}, 'NoSuchKey');
    },
    getUpload(query: ExpectsBucket) {
      state.calls.push('getUpload');
      return told(query, state.upload, 'NoSuchUpload');
    },
    abortUpload(query: ExpectsBucket) {
      state.calls.push('abortUpload');
      return told(query, state.upload && null, 'NoSuchUpload');
    },
    deleteObject(command: ExpectsBucket) {
      state.calls.push('deleteObject');
      return told(command, { existed: true }, 'NoSuchKey');
    },
  } as unknown as Meta;
  const source = createSettingsSource(meta);
  return {
    state,
    /** Another request has changed the bucket. */
    change(next: Record<string, string>): void {
      state.bucket = { ...state.bucket, revision: state.bucket.revision + 1 };
      state.values = next;
    },
    async request(
      name: string,
      permission: string,
      account: Account | undefined,
      headers: Record<string, string> = {},
    ) {
      const guard = new Guard(source);
      const authorization = await authorize(
        {
          request: { remoteAddress: '192.0.2.1', secure: false, tlsVersion: undefined },
          identity: { account },
          operation: { name, permission },
          bucket: BUCKET.name,
          key: 'a',
          query: parseQuery(''),
          headers,
          form: false,
        },
        { settings: source, accounts: DIRECTORY, region: 'us-east-1', nowMs: 0 },
        guard,
      );
      return { guard, authorization, meta: guardMeta(meta, guard) };
    },
  };
}

const A = { bucket: BUCKET.name, key: 'a' };
const denied = isCode('AccessDenied');
const TAGGED = JSON.stringify({
  Version: '2012-10-17',
  Statement: {
    Effect: 'Allow',
    Principal: '*',
    Action: ['s3:GetObject', 's3:PutObjectTagging'],
    Resource: 'arn:aws:s3:::photos/*',
    Condition: { StringEquals: { 's3:ExistingObjectTag/open': 'yes' } },
  },
});
const OPEN: Tag[] = [{ key: 'open', value: 'yes' }];
const ENFORCED = { ownership: '{"ownership":"BucketOwnerEnforced"}' };

test('reading an object is one question to the metadata service, whoever asks and whatever decides', async () => {
  const cases: [Record<string, string>, Account | undefined, ObjectRecord][] = [
    [ENFORCED, OWNER, OBJECT],
    [{}, OWNER, OBJECT],
    [{}, undefined, { ...OBJECT, acl: PUBLIC }],
    [{}, OTHER, { ...OBJECT, owner: OTHER.id }],
    [{ policy: TAGGED }, OTHER, { ...OBJECT, tags: OPEN }],
    [{ policy: TAGGED, ...ENFORCED }, OWNER, OBJECT],
  ];
  for (const [values, account, object] of cases) {
    const { state, request } = world(values);
    state.object = object;
    const { meta } = await request('GetObject', 's3:GetObject', account);
    assert.ok((await meta.getObject(A)).ok);
    assert.deepEqual(state.calls, ['getObject']);
  }
});

test('what is read is judged by its own owner, list and tags, whatever there was before', async () => {
  const { state, request } = world();
  const { meta } = await request('GetObject', 's3:GetObject', undefined);
  state.object = { ...OBJECT, acl: PUBLIC };
  assert.ok((await meta.getObject(A)).ok);
  state.object = OBJECT;
  await assert.rejects(meta.getObject(A), denied);
  const tagged = world({ policy: TAGGED });
  const reader = await tagged.request('GetObject', 's3:GetObject', OTHER);
  await assert.rejects(reader.meta.getObject(A), denied);
  tagged.state.object = { ...OBJECT, tags: OPEN };
  assert.ok((await reader.meta.getObject(A)).ok);
});

test('an object that was opened and may not be read is closed', async () => {
  const { request } = world();
  const { guard } = await request('GetObject', 's3:GetObject', OTHER);
  let closed = 0;
  const opened = { bucket: BUCKET, object: OBJECT, close: () => void closed++ };
  const engine = {
    open: () => Promise.resolve({ ok: true, value: opened as unknown as OpenedObject }),
  } as unknown as ObjectEngine;
  await assert.rejects(new GuardedObjects(engine, guard).open(A), denied);
  assert.equal(closed, 1);
});

test('who may not list is not told that a key is not there', async () => {
  const { state, request } = world();
  state.object = undefined;
  const stranger = await request('GetObject', 's3:GetObject', OTHER);
  await assert.rejects(stranger.meta.getObject(A), denied);
  const owner = await request('GetObject', 's3:GetObject', OWNER);
  assert.deepEqual(await owner.meta.getObject(A), { ok: false, refusal: 'NoSuchKey' });
  const listed = world({ acl: encodeAcl(PUBLIC) });
  listed.state.object = undefined;
  const nobody = await listed.request('GetObject', 's3:GetObject', undefined);
  assert.deepEqual(await nobody.meta.getObject(A), { ok: false, refusal: 'NoSuchKey' });
});

test('a change is made to the object that was judged, or judged again', async () => {
  const { state, request } = world({ policy: TAGGED });
  state.object = { ...OBJECT, tags: OPEN };
  const { meta } = await request('PutObjectTagging', 's3:PutObjectTagging', OTHER);
  const put = () => meta.setObjectTags({ ...A, tags: [] });
  assert.ok((await put()).ok);
  // Changed in a way that changes nothing of the right.
  state.meanwhile = () => {
    state.object = { ...OBJECT, tags: OPEN, revision: 1 };
  };
  assert.ok((await put()).ok);
  // Closed by its owner between the judgement and the commit.
  state.meanwhile = () => {
    state.object = { ...OBJECT, revision: 2 };
  };
  await assert.rejects(put(), denied);
  // Replaced by another version.
  state.object = { ...OBJECT, tags: OPEN };
  state.meanwhile = () => {
    state.object = { ...OBJECT, version: '1'.repeat(32) };
  };
  await assert.rejects(put(), denied);
});

test('the policy that is taken away between judgement and step takes the right with it', async () => {
  const { change, request, state } = world({ policy: TAGGED });
  state.object = { ...OBJECT, tags: OPEN };
  const reader = await request('GetObject', 's3:GetObject', OTHER);
  change({});
  await assert.rejects(reader.meta.getObject(A), denied);
  change({ policy: TAGGED });
  const writer = await request('PutObjectTagging', 's3:PutObjectTagging', OTHER);
  state.meanwhile = () => change({});
  await assert.rejects(writer.meta.setObjectTags({ ...A, tags: [] }), denied);
});

test('an upload is aborted by who began it or may, and nobody else learns of it', async () => {
  const { state, request, change } = world();
  const name = { ...A, uploadId: 'u' };
  const abort = async (account: Account | undefined) => {
    const { meta } = await request('AbortMultipartUpload', 's3:AbortMultipartUpload', account);
    return meta.abortUpload(name);
  };
  assert.ok((await abort(OTHER)).ok);
  assert.deepEqual(state.calls.splice(0), ['getUpload', 'abortUpload']);
  assert.ok((await abort(OWNER)).ok);
  assert.deepEqual(state.calls.splice(0), ['abortUpload'], 'the owner is asked nothing');
  state.upload = { ...UPLOAD, owner: OTHER.id, initiator: OWNER.id };
  await assert.rejects(abort(OTHER), denied);
  await assert.rejects(abort(undefined), denied);
  state.upload = undefined;
  await assert.rejects(abort(OTHER), denied);
  assert.deepEqual(await abort(OWNER), { ok: false, refusal: 'NoSuchUpload' });
  // Allowed by the policy at first, then only if he began it.
  const Statement = {
    Effect: 'Allow',
    Principal: '*',
    Action: 's3:AbortMultipartUpload',
    Resource: 'arn:aws:s3:::photos/*',
  };
  change({ policy: JSON.stringify({ Version: '2012-10-17', Statement }) });
  state.upload = { ...UPLOAD, owner: OWNER.id };
  const { meta } = await request('AbortMultipartUpload', 's3:AbortMultipartUpload', OTHER);
  change({});
  await assert.rejects(meta.abortUpload(name), denied);
});

test('nothing is done before everything about it has been judged', async () => {
  const { request } = world();
  const { meta } = await request('GetObject', 's3:GetObject', OTHER);
  await assert.rejects(meta.deleteObject(A), (error) => isFailure(error, 'internal'));
  const judged = await request('GetObject', 's3:GetObject', OWNER);
  await judged.meta.getObject(A);
  assert.ok((await judged.meta.deleteObject(A)).ok);
});

test('a check that an operation adds holds in the state in which its step happens', async () => {
  const { request, change, state } = world();
  const { meta, authorization } = await request('DeleteObject', 's3:DeleteObject', OWNER);
  const seen: (string | undefined)[] = [];
  await authorization.access.require((settings) => {
    seen.push(settings.text('note'));
    if (settings.text('note') === 'stop') throw isStopped;
  });
  change({ note: 'go on' });
  assert.ok((await meta.deleteObject(A)).ok);
  change({ note: 'stop' });
  await assert.rejects(meta.deleteObject(A), (error) => error === isStopped);
  assert.deepEqual(seen, [undefined, 'go on', 'stop']);
  assert.equal(state.calls.filter((call) => call === 'deleteObject').length, 3);
});

const isStopped = new Error('stopped');

test('the expected owner is the id or the number of the owner, of nobody else', async () => {
  const { request } = world();
  const asked = (owner: string) =>
    request('GetObject', 's3:GetObject', OWNER, { 'x-amz-expected-bucket-owner': owner });
  await asked(OWNER.id);
  await asked(OWNER.number);
  for (const wrong of [OTHER.id, OTHER.number, '', OWNER.id.toUpperCase().replace('1', 'A')]) {
    await assert.rejects(asked(wrong), denied, wrong);
  }
});
