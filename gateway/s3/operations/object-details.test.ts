import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  DeleteObjectCommand,
  ObjectRecord,
  PartRef,
  ReadPartsQuery,
} from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import { deleteObject } from './delete-object.ts';
import { getObjectAttributes } from './get-object-attributes.ts';
import { BUCKET, ok, OWNER, refused, run, textOf } from './testing-context.ts';

const RECORD: ObjectRecord = {
  version: '0'.repeat(32),
  size: 20,
  etag: 'abc-3',
  modifiedMs: Date.UTC(2026, 10, 20, 8, 30),
  owner: OWNER,
  data: { kind: 'parts', list: 'l', size: 20, count: 3 },
  checksum: { algorithm: 'CRC32', type: 'COMPOSITE', value: 'AAAAAA==-3' },
  system: {},
  user: {},
};

const PARTS: PartRef[] = [1, 2, 4].map((number, index) => ({
  number,
  offset: index * 8,
  size: index === 2 ? 4 : 8,
  etag: `p${number}`,
  checksum: 'BBBBBB==',
}));

const meta = {
  getObject: () => ok({ bucket: BUCKET, object: RECORD }),
  // Pages of two, to be put together.
  readParts: ({ from }: ReadPartsQuery): Promise<PartRef[]> =>
    Promise.resolve(
      'after' in from ? PARTS.filter(({ number }) => number > from.after).slice(0, 2) : [],
    ),
};

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

async function attributes(names: string, more: Record<string, string> = {}): Promise<string> {
  const headers = { 'x-amz-object-attributes': names, ...more };
  const reply = await run(getObjectAttributes, { key: 'a', headers, meta });
  assert.equal(reply.headers['Last-Modified'], 'Fri, 20 Nov 2026 08:30:00 GMT');
  return textOf(reply).replace(/^.*<GetObjectAttributesResponse [^>]*>/s, '');
}

const END = '</GetObjectAttributesResponse>';
const part = (number: number, size: number) =>
  `<Part><PartNumber>${number}</PartNumber><Size>${size}</Size><ChecksumCRC32>BBBBBB==</ChecksumCRC32></Part>`;

test('GetObjectAttributes returns what was asked for and nothing else', async () => {
  assert.equal(await attributes('ETag'), `<ETag>abc-3</ETag>${END}`);
  assert.equal(
    await attributes('ObjectSize, StorageClass,Checksum'),
    '<Checksum><ChecksumCRC32>AAAAAA==-3</ChecksumCRC32><ChecksumType>COMPOSITE</ChecksumType></Checksum>' +
      `<StorageClass>STANDARD</StorageClass><ObjectSize>20</ObjectSize>${END}`,
  );
  for (const names of ['', 'etag', 'ETag,Owner', ',']) {
    await assert.rejects(attributes(names), isCode('InvalidArgument'));
  }
});

test('GetObjectAttributes pages through the parts', async () => {
  const parts = (more: Record<string, string>) => attributes('ObjectParts', more);
  assert.equal(
    await parts({}),
    '<ObjectParts><PartsCount>3</PartsCount><PartNumberMarker>0</PartNumberMarker>' +
      '<NextPartNumberMarker>4</NextPartNumberMarker><MaxParts>1000</MaxParts>' +
      `<IsTruncated>false</IsTruncated>${part(1, 8)}${part(2, 8)}${part(4, 4)}</ObjectParts>${END}`,
  );
  assert.equal(
    await parts({ 'x-amz-max-parts': '1', 'x-amz-part-number-marker': '1' }),
    '<ObjectParts><PartsCount>3</PartsCount><PartNumberMarker>1</PartNumberMarker>' +
      '<NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>1</MaxParts>' +
      `<IsTruncated>true</IsTruncated>${part(2, 8)}</ObjectParts>${END}`,
  );
  await assert.rejects(parts({ 'x-amz-max-parts': '-1' }), isCode('InvalidArgument'));
});

test('GetObjectAttributes of an object in one piece has no parts', async () => {
  const headers = { 'x-amz-object-attributes': 'ObjectParts,ETag' };
  const object: ObjectRecord = { ...RECORD, data: { kind: 'none' } };
  const whole = { getObject: () => ok({ bucket: BUCKET, object }) };
  const reply = await run(getObjectAttributes, { key: 'a', headers, meta: whole });
  assert.match(textOf(reply), /\/"><ETag>abc-3<\/ETag><\/GetObjectAttributesResponse>$/);
});

test('DeleteObject is 204 whether there was something or not', async () => {
  const commands: DeleteObjectCommand[] = [];
  const deleting = {
    deleteObject: (command: DeleteObjectCommand) => {
      commands.push(command);
      return ok({ existed: false });
    },
  };
  const headers = { 'if-match': '"abc"' };
  const reply = await run(deleteObject, { key: 'a', headers, meta: deleting });
  assert.equal(reply.status, 204);
  assert.deepEqual(commands, [{ bucket: 'photos', key: 'a', condition: { ifMatch: 'abc' } }]);
  const named = await run(deleteObject, { key: 'a', query: 'versionId=null', meta: deleting });
  assert.equal(named.status, 204);
  assert.deepEqual(commands[1], {
    bucket: 'photos',
    key: 'a',
    versionId: 'null',
    condition: undefined,
  });
});

test('DeleteObject tells of the delete marker that it made', async () => {
  const deleteMarked = () => ok({ existed: true, versionId: 'ab', marker: true as const });
  const reply = await run(deleteObject, { key: 'a', meta: { deleteObject: deleteMarked } });
  assert.equal(reply.headers['x-amz-version-id'], 'ab');
  assert.equal(reply.headers['x-amz-delete-marker'], 'true');
});

test('DeleteObject passes on why it was refused', async () => {
  const headers = { 'if-match': '"x"' };
  const refusing = { deleteObject: () => refused('PreconditionFailed') };
  const deleted = run(deleteObject, { key: 'a', headers, meta: refusing });
  await assert.rejects(deleted, isCode('PreconditionFailed'));
});
