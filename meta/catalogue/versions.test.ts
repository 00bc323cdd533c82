/** Versions, delete markers, tags and bucket configurations, by example and in races. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer, Deleted, Grant, Versioning } from '../protocol.ts';
import type { Catalogue } from './catalogue.ts';
import {
  checkInvariants,
  complete,
  drainGarbage,
  freshPart,
  refusal,
  rowsOf,
  startUpload,
  value,
  type World,
  worldWithBucket,
  WRITER,
} from './test-support.ts';
import { underAllOrders } from './test-support-races.ts';

async function setVersioning(catalogue: Catalogue, versioning: Versioning): Promise<void> {
  value(await catalogue.setVersioning({ bucket: 'b', versioning }));
}

async function versionedWorld(): Promise<World> {
  const w = await worldWithBucket();
  await setVersioning(w.catalogue, 'Enabled');
  return w;
}

/** Puts an object and returns the version id that was answered. */
async function put(w: World, key = 'k', server = w.catalogue): Promise<string> {
  const command = { writer: WRITER, bucket: 'b', key, object: w.object(10), missing: [] };
  return value(await server.putObject(command)).versionId ?? 'none';
}

async function versions(w: World, key = 'k') {
  const page = value(await w.catalogue.listVersions({ bucket: 'b', prefix: key, limit: 1000 }));
  return page.versions.filter((version) => version.key === key);
}

const ids = async (w: World, key = 'k') => (await versions(w, key)).map((one) => one.versionId);

test('PutObject in a versioned bucket keeps what was there under its id', async () => {
  const w = await versionedWorld();
  const first = await put(w);
  const second = await put(w);
  assert.deepEqual(await ids(w), [second, first]);
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.equal(object.version, second);
  const older = value(await w.catalogue.getObject({ bucket: 'b', key: 'k', versionId: first }));
  assert.equal(older.object.version, first);
  assert.ok(!('newer' in older.object), 'its place among the others is not shown');
});

test('versions are in the order of their commits even when the clock steps back', async () => {
  const w = await versionedWorld();
  const made: string[] = [];
  for (let count = 0; count < 5; count++) {
    w.clock.ms -= 1000;
    made.unshift(await put(w));
  }
  assert.deepEqual(await ids(w), made);
});

test('DeleteObject hides the key behind a marker, and deleting the marker brings it back', async () => {
  const w = await versionedWorld();
  const first = await put(w);
  const marker = value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  assert.deepEqual(marker, { existed: true, versionId: marker.versionId, marker: true });
  const hidden = await w.catalogue.getObject({ bucket: 'b', key: 'k' });
  assert.equal(refusal(hidden), 'NoSuchKey');
  assert.ok(!hidden.ok && hidden.marker?.versionId === marker.versionId);
  const versionId = marker.versionId ?? '';
  const named = await w.catalogue.getObject({ bucket: 'b', key: 'k', versionId });
  assert.equal(refusal(named), 'MethodNotAllowed');
  const listed = value(await w.catalogue.listObjects({ bucket: 'b', prefix: '', limit: 10 }));
  assert.deepEqual(listed.objects, []);
  assert.equal(refusal(await w.catalogue.deleteBucket({ bucket: 'b' })), 'BucketNotEmpty');
  const removed = value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k', versionId }));
  assert.deepEqual(removed, { existed: true, versionId, marker: true });
  const back = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.equal(back.object.version, first);
});

test('what was there before versioning goes by null, and a suspended bucket replaces it', async () => {
  const w = await worldWithBucket();
  assert.equal(await put(w), 'none');
  await setVersioning(w.catalogue, 'Enabled');
  const named = await put(w);
  assert.deepEqual(await ids(w), [named, 'null']);
  await setVersioning(w.catalogue, 'Suspended');
  assert.equal(await put(w), 'null');
  assert.deepEqual(await ids(w), ['null', named]);
  const marker = value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  assert.deepEqual(marker, { existed: true, versionId: 'null', marker: true });
  assert.deepEqual(await ids(w), ['null', named]);
  assert.equal((await drainGarbage(w.catalogue)).length, 2, 'the bytes of both null versions');
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k', versionId: 'null' }));
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.equal(object.version, named);
});

test('conditions of writes see no object behind a delete marker', async () => {
  const w = await versionedWorld();
  await put(w);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k' }));
  const command = { writer: WRITER, bucket: 'b', key: 'k', object: w.object(1), missing: [] };
  const any = await w.catalogue.putObject({ ...command, condition: { ifMatch: '*' } });
  assert.equal(refusal(any), 'NoSuchKey');
  value(await w.catalogue.putObject({ ...command, condition: { ifNoneMatch: '*' } }));
});

test('a listing passes keys and common prefixes that only have delete markers', async () => {
  const w = await versionedWorld();
  for (let count = 0; count < 300; count++) {
    await put(w, `gone/${count}`);
    value(await w.catalogue.deleteObject({ bucket: 'b', key: `gone/${count}` }));
  }
  await put(w, 'here/1');
  await put(w, 'last');
  const query = { bucket: 'b', prefix: '', delimiter: '/', limit: 1 };
  const first = value(await w.catalogue.listObjects(query));
  assert.deepEqual([first.commonPrefixes, first.next], [['here/'], 'here/']);
  const rest = value(await w.catalogue.listObjects({ ...query, after: first.next }));
  assert.deepEqual([rest.objects.map(({ key }) => key), rest.next], [['last'], undefined]);
});

test('CompleteMultipartUpload makes a version with the tags of the upload, and repeats its id', async () => {
  const w = await versionedWorld();
  const before = await put(w);
  const tags = [{ key: 'a', value: 'b' }];
  const { uploadId } = value(
    await w.catalogue.createUpload({
      bucket: 'b',
      key: 'k',
      owner: 'o',
      system: {},
      user: {},
      tags,
    }),
  );
  const upload = value(await w.catalogue.getUpload({ bucket: 'b', key: 'k', uploadId }));
  const part = freshPart(w, upload, 1, 10);
  value(await w.catalogue.putPart(part));
  const done = value(await complete(w.catalogue, upload, [part]));
  assert.deepEqual(await ids(w), [done.versionId, before]);
  assert.deepEqual(value(await complete(w.catalogue, upload, [part])), done);
  const { object } = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' }));
  assert.deepEqual(object.tags, tags);
});

test('setObjectTags changes one version and nothing else of it', async () => {
  const w = await versionedWorld();
  const first = await put(w);
  await put(w);
  const place = { bucket: 'b', key: 'k', versionId: first };
  const { object } = value(await w.catalogue.getObject(place));
  w.clock.ms += 5000;
  const tags = [{ key: 'a', value: 'b' }];
  value(await w.catalogue.setObjectTags({ ...place, tags }));
  const tagged = value(await w.catalogue.getObject(place)).object;
  assert.deepEqual(tagged, { ...object, tags, revision: 1 });
  const current = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' })).object;
  assert.equal(current.tags, undefined);
  value(await w.catalogue.setObjectTags({ ...place, tags: [] }));
  const untagged = value(await w.catalogue.getObject(place)).object;
  assert.deepEqual(untagged, { ...object, revision: 2 });
  const wrong = { ...place, versionId: 'ab'.repeat(16), tags };
  assert.equal(refusal(await w.catalogue.setObjectTags(wrong)), 'NoSuchVersion');
});

test('setObjectExtras replaces what is given, of one version, and keeps the rest', async () => {
  const w = await versionedWorld();
  const first = await put(w);
  await put(w);
  const place = { bucket: 'b', key: 'k', versionId: first };
  const before = value(await w.catalogue.getObject(place)).object;
  const acl: Grant[] = [{ grantee: { group: 'AllUsers' }, permission: 'READ' }];
  value(await w.catalogue.setObjectExtras({ ...place, acl }));
  value(await w.catalogue.setObjectExtras({ ...place }));
  const changed = { ...before, acl, revision: 2 };
  assert.deepEqual(value(await w.catalogue.getObject(place)).object, changed);
  value(await w.catalogue.setObjectExtras({ ...place, acl: [] }));
  const after = value(await w.catalogue.getObject(place)).object;
  assert.deepEqual(after, { ...before, acl: [], revision: 3 });
  const current = value(await w.catalogue.getObject({ bucket: 'b', key: 'k' })).object;
  assert.equal(current.acl, undefined);
});

test('what goes by the state of a version happens in that state or not at all', async () => {
  const w = await versionedWorld();
  const first = await put(w);
  const place = { bucket: 'b', key: 'k' };
  const { version } = value(await w.catalogue.getObject(place)).object;
  const tags = [{ key: 'a', value: 'b' }];
  const fresh = { version, revision: 0 };
  value(await w.catalogue.setObjectTags({ ...place, tags, expectObject: fresh }));
  const again = await w.catalogue.setObjectTags({ ...place, tags: [], expectObject: fresh });
  assert.equal(refusal(again), 'ObjectChanged');
  const tagged = { version, revision: 1 };
  value(await w.catalogue.setObjectExtras({ ...place, acl: [], expectObject: tagged }));
  // Another version became the current one.
  await put(w);
  const seen = { version, revision: 2 };
  const late = await w.catalogue.setObjectExtras({ ...place, acl: [], expectObject: seen });
  assert.equal(refusal(late), 'ObjectChanged');
  const named = { ...place, versionId: first, acl: [], expectObject: seen };
  value(await w.catalogue.setObjectExtras(named));
});

test('a configuration stays with its bucket and goes with it', async () => {
  const w = await worldWithBucket();
  const { catalogue } = w;
  const name = { bucket: 'b', name: 'tagging' };
  assert.equal(value(await catalogue.getBucketConfig(name)).value, undefined);
  value(await catalogue.setBucketConfig({ ...name, value: 'one' }));
  value(await catalogue.setBucketConfig({ ...name, value: 'two' }));
  value(await catalogue.setBucketConfig({ bucket: 'b', name: 'other', value: 'x' }));
  assert.equal(value(await catalogue.getBucketConfig(name)).value, 'two');
  value(await catalogue.setBucketConfig(name));
  assert.equal(value(await catalogue.getBucketConfig(name)).value, undefined);
  value(await catalogue.deleteBucket({ bucket: 'b' }));
  assert.deepEqual(await rowsOf(w.store, 's'), []);
  assert.equal(refusal(await catalogue.getBucketConfig(name)), 'NoSuchBucket');
});

test('a multipart version that another one replaced is read until it is deleted', async () => {
  const w = await versionedWorld();
  const upload = await startUpload(w);
  const part = freshPart(w, upload, 1, 10);
  value(await w.catalogue.putPart(part));
  const { versionId } = value(await complete(w.catalogue, upload, [part]));
  await put(w);
  await drainGarbage(w.catalogue);
  const query = { bucket: 'b', key: 'k', versionId, withParts: true };
  assert.equal(value(await w.catalogue.getObject(query)).parts?.length, 1);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'k', versionId }));
  assert.equal((await drainGarbage(w.catalogue)).length, 1);
});

test('DeleteObjects deletes thousands of versions of few keys, in any order', async () => {
  const w = await versionedWorld();
  const keys: { key: string; versionId: string }[] = [];
  for (let count = 0; count < 500; count++) {
    for (const key of ['k', 'l']) keys.push({ key, versionId: await put(w, key) });
  }
  keys.sort((left, right) => (left.versionId.slice(-4) < right.versionId.slice(-4) ? -1 : 1));
  const answers = value(await w.catalogue.deleteObjects({ bucket: 'b', keys }));
  assert.ok(answers.every((answer) => answer.ok && answer.value.existed));
  assert.deepEqual(await rowsOf(w.store, 'v'), []);
  assert.deepEqual(await rowsOf(w.store, 'o'), []);
  await checkInvariants(w.store);
});

/* ------------------------------------------------------------------ races */

test('of racing puts in a versioned bucket every one leaves its version', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const made = await together(...[one, two, one, two].map((server) => () => put(w, 'k', server)));
    assert.deepEqual(new Set(await ids(w)), new Set(made));
    assert.equal(new Set(made).size, 4);
  });
});

test('a put that races the deletion of the current version leaves itself, then the older one', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const oldest = await put(w);
    const versionId = await put(w);
    const [made] = await together(
      () => put(w, 'k', one),
      async () => value(await two.deleteObject({ bucket: 'b', key: 'k', versionId })).versionId,
    );
    assert.deepEqual(await ids(w), [made, oldest]);
  });
});

test('deletions of neighbouring versions that race leave the others', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const made: string[] = [];
    for (let count = 0; count < 5; count++) made.unshift(await put(w));
    const remove = (server: Catalogue, at: number) => async () =>
      server.deleteObject({ bucket: 'b', key: 'k', versionId: made[at] });
    const answers: Answer<Deleted>[] = await together(
      remove(one, 0),
      remove(two, 1),
      remove(one, 2),
      remove(two, 3),
    );
    for (const answer of answers) assert.equal(value(answer).existed, true);
    assert.deepEqual(await ids(w), [made[4]]);
  });
});

test('of racing deletions of one version exactly one finds it', async () => {
  await underAllOrders(async ({ w, servers, together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const left = await put(w);
    const versionId = await put(w);
    const answers = await together(
      ...[...servers, ...servers].map(
        (server) => () => server.deleteObject({ bucket: 'b', key: 'k', versionId }),
      ),
    );
    assert.equal(answers.filter((answer) => value(answer).existed).length, 1);
    assert.deepEqual(await ids(w), [left]);
  });
});

test('a put that races a suspension is before it, with a name, or after it, without', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const before = await put(w);
    const made = await together(
      () => put(w, 'k', one),
      async () => setVersioning(two, 'Suspended').then(() => put(w, 'k', two)),
      () => put(w, 'k', one),
    );
    assert.equal(made[1], 'null', 'nothing after a suspension gets a name');
    const left = await ids(w);
    assert.equal(left.filter((id) => id === 'null').length, 1);
    assert.deepEqual(new Set(left), new Set([before, ...made]));
  });
});

test('suspended writes and deletions of the null version that race leave at most one', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await put(w);
    await setVersioning(w.catalogue, 'Enabled');
    const named = [await put(w), await put(w)].reverse();
    await setVersioning(w.catalogue, 'Suspended');
    await together<unknown>(
      () => put(w, 'k', one),
      () => two.deleteObject({ bucket: 'b', key: 'k', versionId: 'null' }),
      () => two.deleteObject({ bucket: 'b', key: 'k' }),
      () => one.deleteObject({ bucket: 'b', key: 'k', versionId: named[0] }),
    );
    const left = await ids(w);
    assert.deepEqual(
      left.filter((id) => id !== 'null'),
      [named[1]],
    );
    assert.ok(left.length <= 2);
  });
});

test('a listing of versions shows no key without its older versions while they move', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const oldest = await put(w);
    const current = await put(w);
    const [listed] = await together<unknown>(
      async () => value(await one.listVersions({ bucket: 'b', prefix: '', limit: 10 })).versions,
      () => put(w, 'k', two),
      () => two.deleteObject({ bucket: 'b', key: 'k', versionId: current }),
    );
    const seen = (listed as { versionId: string; latest: boolean }[]).map((one) => one.versionId);
    assert.equal(seen.at(-1), oldest, 'the oldest version is there at all times');
    assert.equal(new Set(seen).size, seen.length, 'no version twice');
  });
});

test('tags given while versions are added stay with their version', async () => {
  await underAllOrders(async ({ w, servers: [one, two], together }) => {
    await setVersioning(w.catalogue, 'Enabled');
    const versionId = await put(w);
    const tags = [{ key: 'a', value: 'b' }];
    await together<unknown>(
      async () => value(await one.setObjectTags({ bucket: 'b', key: 'k', versionId, tags })),
      () => put(w, 'k', two),
    );
    const { object } = value(await one.getObject({ bucket: 'b', key: 'k', versionId }));
    assert.deepEqual(object.tags, tags);
  });
});
