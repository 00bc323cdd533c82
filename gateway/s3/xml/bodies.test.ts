import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, S3Error } from '../errors.ts';
import { readCompleteMultipartUpload } from './complete-multipart-upload.ts';
import { readCreateBucketConfiguration } from './create-bucket-configuration.ts';
import { readDelete } from './delete.ts';
import { readVersioningConfiguration } from './versioning-configuration.ts';

const NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

function deleting(...objects: string[]): string {
  return `<Delete ${NS}>${objects.map((object) => `<Object>${object}</Object>`).join('')}</Delete>`;
}

test('Delete gives back every key exactly, siblings included', () => {
  const keys = ['0001', '1', '1e5', '100000', ' a ', 'a', 'a&#x1;b', 'ab', '__proto__', 'ö😀'];
  const request = readDelete(deleting(...keys.map((key) => `<Key>${key}</Key>`)));
  assert.deepEqual(
    request.objects.map(({ key }) => key),
    ['0001', '1', '1e5', '100000', ' a ', 'a', 'a\u0001b', 'ab', '__proto__', 'ö😀'],
  );
  assert.equal(request.quiet, false);
});

test('Delete reads versions, conditions and Quiet', () => {
  const request = readDelete(
    '<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId>' +
      '<ETag>&quot;abc&quot;</ETag><Size>17</Size>' +
      '<LastModifiedTime>Fri, 20 Nov 2026 08:30:00 GMT</LastModifiedTime></Object>' +
      '<Object><Key>b</Key><LastModifiedTime>2026-11-20T08:30:00.000Z</LastModifiedTime>' +
      '</Object></Delete>',
  );
  const modifiedMs = Date.UTC(2026, 10, 20, 8, 30);
  assert.deepEqual(request, {
    quiet: true,
    objects: [
      { key: 'a', versionId: 'null', etag: 'abc', size: 17, modifiedMs },
      { key: 'b', modifiedMs },
    ],
  });
});

test('Delete takes 1,000 keys and no more', () => {
  const keys = Array.from({ length: 1001 }, (_, index) => `<Key>${index}</Key>`);
  assert.equal(readDelete(deleting(...keys.slice(0, 1000))).objects.length, 1000);
  assert.throws(() => readDelete(deleting(...keys)), isCode('MalformedXML'));
});

const BAD_DELETES: [title: string, xml: string][] = [
  ['no object', '<Delete></Delete>'],
  ['an object without key', deleting('<VersionId>null</VersionId>')],
  ['an empty key', deleting('<Key></Key>')],
  ['two keys in one object', deleting('<Key>a</Key><Key>b</Key>')],
  ['an element inside a key', deleting('<Key><b>a</b></Key>')],
  ['an unknown element', deleting('<Key>a</Key><Colour>red</Colour>')],
  ['an unknown element beside the objects', '<Delete><Object><Key>a</Key></Object><X/></Delete>'],
  ['a size that is no number', deleting('<Key>a</Key><Size>-1</Size>')],
  ['a time that is no time', deleting('<Key>a</Key><LastModifiedTime>soon</LastModifiedTime>')],
  ['a Quiet that is no boolean', '<Delete><Object><Key>a</Key></Object><Quiet>1</Quiet></Delete>'],
  ['another root', '<Deletes><Object><Key>a</Key></Object></Deletes>'],
];

for (const [title, xml] of BAD_DELETES) {
  test(`Delete with ${title} is MalformedXML`, () => {
    assert.throws(() => readDelete(xml), isCode('MalformedXML'));
  });
}

test('CompleteMultipartUpload gives parts in the order of the document', () => {
  const parts = readCompleteMultipartUpload(
    `<CompleteMultipartUpload ${NS}>` +
      '<Part><PartNumber>2</PartNumber><ETag>"ab"</ETag></Part>' +
      '<Part><ETag>&quot;cd&quot;</ETag><PartNumber> 1 </PartNumber>' +
      '<ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>' +
      '<Part><PartNumber>10000</PartNumber><ETag>ef</ETag></Part></CompleteMultipartUpload>',
  );
  assert.deepEqual(parts, [
    { number: 2, etag: 'ab' },
    { number: 1, etag: 'cd', checksum: { algorithm: 'CRC32', value: 'AAAAAA==' } },
    { number: 10_000, etag: 'ef' },
  ]);
});

function completing(...parts: string[]): string {
  const inner = parts.map((part) => `<Part>${part}</Part>`).join('');
  return `<CompleteMultipartUpload>${inner}</CompleteMultipartUpload>`;
}

const BAD_COMPLETES: [title: string, code: ErrorCode, xml: string][] = [
  ['no body', 'MalformedXML', ''],
  ['no part', 'MalformedXML', completing()],
  ['a part without number', 'MalformedXML', completing('<ETag>a</ETag>')],
  ['a part without ETag', 'MalformedXML', completing('<PartNumber>1</PartNumber>')],
  [
    'an empty ETag',
    'MalformedXML',
    completing('<PartNumber>1</PartNumber><ETag>&quot;&quot;</ETag>'),
  ],
  ['a negative number', 'MalformedXML', completing('<PartNumber>-1</PartNumber><ETag>a</ETag>')],
  ['part 0', 'InvalidArgument', completing('<PartNumber>0</PartNumber><ETag>a</ETag>')],
  ['part 10,001', 'InvalidArgument', completing('<PartNumber>10001</PartNumber><ETag>a</ETag>')],
  [
    'an unknown element',
    'MalformedXML',
    completing('<PartNumber>1</PartNumber><ETag>a</ETag><X/>'),
  ],
  [
    'two checksums in one part',
    'InvalidRequest',
    completing(
      '<PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>a</ChecksumCRC32><ChecksumSHA1>b</ChecksumSHA1>',
    ),
  ],
  [
    'more than 10,000 parts',
    'MalformedXML',
    completing(...Array(10_001).fill('<PartNumber>1</PartNumber><ETag>a</ETag>')),
  ],
];

for (const [title, code, xml] of BAD_COMPLETES) {
  test(`CompleteMultipartUpload with ${title} is ${code}`, () => {
    assert.throws(() => readCompleteMultipartUpload(xml), isCode(code));
  });
}

test('CreateBucketConfiguration names a location or none', () => {
  const read = (inner: string) =>
    readCreateBucketConfiguration(
      `<CreateBucketConfiguration ${NS}>${inner}</CreateBucketConfiguration>`,
    ).locationConstraint;
  assert.equal(read('<LocationConstraint>eu-west-1</LocationConstraint>'), 'eu-west-1');
  assert.equal(read('<LocationConstraint></LocationConstraint>'), undefined);
  assert.equal(read(''), undefined);
  assert.equal(
    readCreateBucketConfiguration('<CreateBucketConfiguration/>').locationConstraint,
    undefined,
  );
  assert.throws(() => read('<Tags><Tag/></Tags>'), isCode('NotImplemented'));
  assert.throws(() => read('<Bucket><Type>Directory</Type></Bucket>'), isCode('NotImplemented'));
  assert.throws(() => read('<Colour>red</Colour>'), isCode('MalformedXML'));
});

test('VersioningConfiguration enables or suspends; MFA delete is refused', () => {
  const read = (inner: string) =>
    readVersioningConfiguration(
      `<VersioningConfiguration ${NS}>${inner}</VersioningConfiguration>`,
    );
  assert.equal(read('<Status>Enabled</Status>'), 'Enabled');
  assert.equal(read('<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>'), 'Suspended');
  const mfa = '<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>';
  assert.throws(() => read(mfa), isCode('NotImplemented'));
  assert.throws(() => read(''), isCode('IllegalVersioningConfigurationException'));
  for (const wrong of ['<Status>enabled</Status>', '<Status/>', '<X/>', 'Enabled']) {
    assert.throws(
      () => read(wrong),
      (error) => error instanceof S3Error && error.status === 400,
      wrong,
    );
  }
});
