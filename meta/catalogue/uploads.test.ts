import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PART_BYTES_MAX } from '../protocol.ts';
import {
  checkInvariants,
  complete,
  drainGarbage,
  endLease,
  freshPart,
  refusal,
  rowsOf,
  startUpload as start,
  value,
  WRITER,
  worldWithBucket as world,
} from './test-support.ts';

/* ------------------------------------------------------------------ parts */

test('CreateMultipartUpload gives ids of 128 random bits that sort by creation and are bound to their key', async () => {
  const w = await world();
  const ids: string[] = [];
  for (let index = 0; index < 5; index++) {
    w.clock.ms += index === 3 ? -1000 : 1;
    ids.push((await start(w)).uploadId);
  }
  assert.ok(ids.every((id) => /^[0-9a-f]{44}$/.test(id)));
  assert.equal(new Set(ids).size, 5);
  const times = ids.map((id) => id.slice(0, 12));
  assert.deepEqual([...times].sort(), times);
  const uploadId = ids[0] ?? '';
  assert.equal(
    refusal(await w.catalogue.getUpload({ bucket: 'b', key: 'other', uploadId })),
    'NoSuchUpload',
  );
  const upload = value(await w.catalogue.getUpload({ bucket: 'b', key: 'k', uploadId }));
  assert.deepEqual(upload.user, { a: 'b' });
  assert.equal(upload.system.contentType, 'x/y');
});

test('what is no upload id names no upload, for every operation', async () => {
  const w = await world();
  for (const uploadId of ['', 'x', 'é', '../..', 'f'.repeat(43), 'f'.repeat(44)]) {
    const name = { bucket: 'b', key: 'k', uploadId };
    const upload = { ...(await start(w)), uploadId };
    assert.equal(refusal(await w.catalogue.getUpload(name)), 'NoSuchUpload');
    assert.equal(refusal(await w.catalogue.abortUpload(name)), 'NoSuchUpload');
    assert.equal(
      refusal(await w.catalogue.listParts({ ...name, after: 0, limit: 1 })),
      'NoSuchUpload',
    );
    assert.equal(refusal(await w.catalogue.putPart(freshPart(w, upload, 1, 5))), 'NoSuchUpload');
    assert.equal(
      refusal(await complete(w.catalogue, upload, [{ number: 1, etag: 'x' }])),
      'NoSuchUpload',
    );
    assert.equal(
      refusal(await w.catalogue.abortUpload({ ...name, bucket: 'none' })),
      'NoSuchBucket',
    );
  }
});

test('UploadPart replaces a part of the same number and drops its blob', async () => {
  const w = await world();
  const upload = await start(w);
  const first = freshPart(w, upload, 1, 10);
  const second = freshPart(w, upload, 1, 20);
  value(await w.catalogue.putPart(first));
  value(await w.catalogue.putPart(second));
  const page = value(await w.catalogue.listParts({ ...upload, after: 0, limit: 10 }));
  assert.deepEqual(
    page.parts.map((part) => [part.number, part.size, part.etag]),
    [[1, 20, second.etag]],
  );
  assert.equal(await w.catalogue.garbage.depth(), 1);
  await checkInvariants(w.store);
});

test('UploadPart repeated after its answer was lost changes nothing; its blob is never taken twice', async () => {
  const w = await world();
  const upload = await start(w);
  const part = freshPart(w, upload, 1, 10);
  const first = value(await w.catalogue.putPart(part));
  w.clock.ms += 5;
  assert.deepEqual(value(await w.catalogue.putPart(part)), first);
  await assert.rejects(w.catalogue.putPart({ ...part, number: 2 }), { kind: 'conflict' });
  await checkInvariants(w.store);
});

test('UploadPart checks lease, size, number and checksum', async () => {
  const w = await world();
  const upload = await start(w, 'k', { algorithm: 'SHA256', type: 'COMPOSITE' });
  const bare = await w.catalogue.putPart(freshPart(w, upload, 1, 5));
  assert.equal(refusal(bare), 'InvalidRequest');
  const large = freshPart(w, upload, 1, PART_BYTES_MAX + 1, 'AAAA');
  assert.equal(refusal(await w.catalogue.putPart(large)), 'EntityTooLarge');
  for (const number of [0, 10_001, 1.5]) {
    await assert.rejects(w.catalogue.putPart(freshPart(w, upload, number, 5, 'A')), {
      kind: 'invalid',
    });
  }
  await endLease(w.store, WRITER);
  await assert.rejects(w.catalogue.putPart(freshPart(w, upload, 1, 5, 'A')), { kind: 'fenced' });
  assert.deepEqual(await rowsOf(w.store, 'p'), []);
});

test('UploadPartCopy of a whole blob shares it, and is refused when the blob is gone', async () => {
  const w = await world();
  const upload = await start(w);
  const object = await w.put('b', 'source', 10);
  assert.ok(object.data.kind === 'blob');
  const part = {
    ...freshPart(w, upload, 1, 10),
    data: { ...object.data, kind: 'reference' as const },
  };
  value(await w.catalogue.putPart(part));
  value(await w.catalogue.putPart({ ...part, number: 2 }));
  // Again with the same blob: the count stays.
  value(await w.catalogue.putPart(part));
  await checkInvariants(w.store);
  value(await w.catalogue.deleteObject({ bucket: 'b', key: 'source' }));
  value(await w.catalogue.putPart({ ...part, number: 3 }));
  value(await w.catalogue.abortUpload(upload));
  await drainGarbage(w.catalogue);
  const again = await start(w);
  const late = await w.catalogue.putPart({ ...part, uploadId: again.uploadId });
  assert.equal(refusal(late), 'SourceChanged');
  await assert.rejects(
    async () => {
      const { data } = await w.put('b', 'other', 10);
      assert.ok(data.kind === 'blob');
      const wrong = { ...data, size: 11, kind: 'reference' as const };
      return w.catalogue.putPart({ ...part, uploadId: again.uploadId, size: 11, data: wrong });
    },
    { kind: 'invalid' },
  );
  await checkInvariants(w.store);
});

test('ListParts pages through the parts in number order', async () => {
  const w = await world();
  const upload = await start(w);
  for (const number of [10, 2, 10_000, 1, 300]) {
    value(await w.catalogue.putPart(freshPart(w, upload, number, number)));
  }
  const page = async (after: number, limit: number) => {
    const found = value(await w.catalogue.listParts({ ...upload, after, limit }));
    return [found.parts.map((part) => part.number), found.next];
  };
  assert.deepEqual(await page(0, 10), [[1, 2, 10, 300, 10_000], undefined]);
  assert.deepEqual(await page(0, 2), [[1, 2], 2]);
  assert.deepEqual(await page(2, 3), [[10, 300, 10_000], undefined]);
  assert.deepEqual(await page(10_000, 3), [[], undefined]);
  assert.deepEqual(await page(0, 0), [[], undefined]);
});
