import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ListedObject, Upload } from '../../../meta/protocol.ts';
import { completeMultipartUploadResult } from './complete-multipart-upload-result.ts';
import { copyPartResult } from './copy-part-result.ts';
import { deleteResult } from './delete-result.ts';
import { urlEncode } from './elements.ts';
import { initiateMultipartUploadResult } from './initiate-multipart-upload-result.ts';
import { listAllMyBucketsResult } from './list-all-my-buckets-result.ts';
import { listBucketResult } from './list-bucket-result.ts';
import { listBucketResultV2 } from './list-bucket-result-v2.ts';
import { listMultipartUploadsResult } from './list-multipart-uploads-result.ts';
import { listPartsResult } from './list-parts-result.ts';
import { locationConstraint } from './location-constraint.ts';
import { listVersionsResult } from './list-versions-result.ts';
import { tagging } from './tagging.ts';
import { versioningConfiguration } from './versioning-configuration.ts';

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n';
const NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
const AT = Date.UTC(2026, 10, 20, 8, 30, 0, 7);
const CALLER = { id: 'f00d', displayName: 'me & you' };
const NAMES = new Map([[CALLER.id, CALLER.displayName]]);
const OWNER_XML = '<ID>f00d</ID><DisplayName>me &amp; you</DisplayName>';
const OBJECTS: ListedObject[] = [
  {
    key: 'a b&c+1/ä',
    size: 5,
    etag: '0123',
    modifiedMs: AT,
    owner: 'f00d',
    checksum: { algorithm: 'CRC32', type: 'COMPOSITE' },
  },
  { key: 'z', size: 0, etag: '4567-2', modifiedMs: AT, owner: 'beef', storageClass: 'GLACIER_IR' },
];
const UPLOAD: Upload = {
  uploadId: 'u1',
  bucket: 'photos',
  key: 'a b',
  createdMs: AT,
  owner: 'f00d',
  system: {},
  user: {},
  checksum: { algorithm: 'SHA256', type: 'COMPOSITE' },
};

test('ListAllMyBucketsResult names owner and buckets', () => {
  const buckets = [
    {
      id: 1,
      name: 'photos',
      owner: 'f00d',
      region: 'eu-west-1',
      createdMs: AT,
      revision: 1,
      configs: [],
    },
    {
      id: 2,
      name: 'texts',
      owner: 'f00d',
      region: 'eu-west-1',
      createdMs: AT,
      revision: 1,
      configs: [],
    },
  ];
  const dates = '<CreationDate>2026-11-20T08:30:00.007Z</CreationDate>';
  assert.equal(
    listAllMyBucketsResult({ owner: CALLER, buckets, withRegion: false }),
    `${HEAD}<ListAllMyBucketsResult ${NS}><Owner>${OWNER_XML}</Owner><Buckets>` +
      `<Bucket><Name>photos</Name>${dates}</Bucket><Bucket><Name>texts</Name>${dates}</Bucket>` +
      '</Buckets></ListAllMyBucketsResult>',
  );
  assert.equal(
    listAllMyBucketsResult({
      owner: CALLER,
      buckets: buckets.slice(0, 1),
      withRegion: true,
      prefix: 'p',
      continuationToken: 'more',
    }),
    `${HEAD}<ListAllMyBucketsResult ${NS}><Owner>${OWNER_XML}</Owner><Buckets>` +
      `<Bucket><Name>photos</Name>${dates}<BucketRegion>eu-west-1</BucketRegion></Bucket>` +
      '</Buckets><Prefix>p</Prefix><ContinuationToken>more</ContinuationToken>' +
      '</ListAllMyBucketsResult>',
  );
});

test('LocationConstraint is empty for us-east-1 and names every other region', () => {
  assert.equal(
    locationConstraint('us-east-1'),
    `${HEAD}<LocationConstraint ${NS}></LocationConstraint>`,
  );
  assert.equal(
    locationConstraint('eu-west-1'),
    `${HEAD}<LocationConstraint ${NS}>eu-west-1</LocationConstraint>`,
  );
});

test('VersioningConfiguration is empty until versioning was enabled', () => {
  assert.equal(
    versioningConfiguration(undefined),
    `${HEAD}<VersioningConfiguration ${NS}></VersioningConfiguration>`,
  );
  assert.equal(
    versioningConfiguration('Suspended'),
    `${HEAD}<VersioningConfiguration ${NS}><Status>Suspended</Status></VersioningConfiguration>`,
  );
});

test('Tagging shows every tag in the order of the keys', () => {
  assert.equal(tagging([]), `${HEAD}<Tagging ${NS}><TagSet></TagSet></Tagging>`);
  assert.equal(
    tagging([
      { key: 'b', value: '' },
      { key: 'a', value: 'é' },
    ]),
    `${HEAD}<Tagging ${NS}><TagSet><Tag><Key>a</Key><Value>é</Value></Tag>` +
      '<Tag><Key>b</Key><Value></Value></Tag></TagSet></Tagging>',
  );
});

test('ListVersionsResult shows versions and delete markers in one order', () => {
  const [object] = OBJECTS;
  assert.ok(object !== undefined);
  const modifiedMs = Date.UTC(2026, 10, 20, 8, 30);
  const base = { owner: CALLER.id, modifiedMs, size: 0, etag: '' };
  const listed = listVersionsResult({
    bucket: 'photos',
    prefix: 'a b',
    keyMarker: 'a',
    versionIdMarker: 'v0',
    next: { key: 'a b/1', versionId: 'null' },
    maxKeys: 2,
    delimiter: '/',
    encoding: 'url',
    versions: [
      { ...base, key: 'a b/1', versionId: 'v1', latest: true, marker: true },
      { ...base, key: 'a b/1', versionId: 'null', latest: false, size: 7, etag: 'e' },
    ],
    commonPrefixes: [],
    names: NAMES,
  });
  const owner = `<Owner>${OWNER_XML}</Owner>`;
  const date = '<LastModified>2026-11-20T08:30:00.000Z</LastModified>';
  assert.equal(
    listed,
    `${HEAD}<ListVersionsResult ${NS}><Name>photos</Name><Prefix>a%20b</Prefix>` +
      '<KeyMarker>a</KeyMarker><VersionIdMarker>v0</VersionIdMarker>' +
      '<NextKeyMarker>a%20b/1</NextKeyMarker><NextVersionIdMarker>null</NextVersionIdMarker>' +
      '<MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><EncodingType>url</EncodingType>' +
      '<IsTruncated>true</IsTruncated><DeleteMarker><Key>a%20b/1</Key><VersionId>v1</VersionId>' +
      `<IsLatest>true</IsLatest>${date}${owner}</DeleteMarker><Version><Key>a%20b/1</Key>` +
      `<VersionId>null</VersionId><IsLatest>false</IsLatest>${date}<ETag>&quot;e&quot;</ETag>` +
      `<Size>7</Size>${owner}<StorageClass>STANDARD</StorageClass></Version></ListVersionsResult>`,
  );
});

test('ListBucketResult shows every object with its owner', () => {
  assert.equal(
    listBucketResult({
      bucket: 'photos',
      prefix: '',
      marker: '',
      maxKeys: 1000,
      truncated: false,
      objects: OBJECTS,
      commonPrefixes: [],
      names: NAMES,
    }),
    `${HEAD}<ListBucketResult ${NS}><Name>photos</Name><Prefix></Prefix><Marker></Marker>` +
      '<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>' +
      '<Contents><Key>a b&amp;c+1/ä</Key><LastModified>2026-11-20T08:30:00.007Z</LastModified>' +
      '<ETag>&quot;0123&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>' +
      '<ChecksumType>COMPOSITE</ChecksumType><Size>5</Size>' +
      `<Owner>${OWNER_XML}</Owner><StorageClass>STANDARD</StorageClass></Contents>` +
      '<Contents><Key>z</Key><LastModified>2026-11-20T08:30:00.007Z</LastModified>' +
      '<ETag>&quot;4567-2&quot;</ETag><Size>0</Size>' +
      '<Owner><ID>beef</ID></Owner><StorageClass>GLACIER_IR</StorageClass></Contents>' +
      '</ListBucketResult>',
  );
});

test('the prefix of a ListObjects is the same for clients that decode it and those that do not', () => {
  const shown = (prefix: string) =>
    /<Prefix>([^<]*)<\/Prefix>/.exec(
      listBucketResult({
        bucket: 'photos',
        prefix,
        marker: '',
        maxKeys: 1,
        encoding: 'url',
        truncated: false,
        objects: [],
        commonPrefixes: [],
        names: NAMES,
      }),
    )?.[1];
  for (const prefix of ['a b/ö', 'plain']) assert.equal(shown(prefix), prefix);
  assert.equal(shown('\n'), '&#xA;');
  // Only what would be decoded to something else, or cannot stand in XML, is encoded.
  assert.equal(shown('50%+\u0001'), '50%25%2B%01');
});

test('ListBucketResult encodes names, markers and delimiter when asked', () => {
  assert.equal(
    listBucketResult({
      bucket: 'photos',
      prefix: 'a b',
      marker: 'a+',
      nextMarker: 'a b/ö/',
      delimiter: '/',
      maxKeys: 1,
      encoding: 'url',
      truncated: true,
      objects: [],
      commonPrefixes: ['a b/ö/'],
      names: NAMES,
    }),
    `${HEAD}<ListBucketResult ${NS}><Name>photos</Name><Prefix>a b</Prefix>` +
      '<Marker>a%2B</Marker><NextMarker>a%20b/%C3%B6/</NextMarker><MaxKeys>1</MaxKeys>' +
      '<Delimiter>/</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>' +
      '<CommonPrefixes><Prefix>a%20b/%C3%B6/</Prefix></CommonPrefixes></ListBucketResult>',
  );
});

test('ListBucketResult of V2 counts keys and prefixes and shows owners only when asked', () => {
  const contents =
    '<Contents><Key>z</Key><LastModified>2026-11-20T08:30:00.007Z</LastModified>' +
    '<ETag>&quot;4567-2&quot;</ETag><Size>0</Size>';
  const common = {
    bucket: 'photos',
    prefix: 'p',
    maxKeys: 2,
    objects: OBJECTS.slice(1),
    commonPrefixes: ['p/'],
  };
  assert.equal(
    listBucketResultV2({
      ...common,
      continuationToken: 't1',
      nextContinuationToken: 't2',
      startAfter: 's t',
      delimiter: '/',
      encoding: 'url',
      names: NAMES,
    }),
    `${HEAD}<ListBucketResult ${NS}><Name>photos</Name><Prefix>p</Prefix>` +
      '<ContinuationToken>t1</ContinuationToken><NextContinuationToken>t2</NextContinuationToken>' +
      '<StartAfter>s%20t</StartAfter><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys>' +
      '<Delimiter>/</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>' +
      `${contents}<Owner><ID>beef</ID></Owner><StorageClass>GLACIER_IR</StorageClass></Contents>` +
      '<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>',
  );
  assert.equal(
    listBucketResultV2({ ...common, commonPrefixes: [] }),
    `${HEAD}<ListBucketResult ${NS}><Name>photos</Name><Prefix>p</Prefix>` +
      '<KeyCount>1</KeyCount><MaxKeys>2</MaxKeys><IsTruncated>false</IsTruncated>' +
      `${contents}<StorageClass>GLACIER_IR</StorageClass></Contents></ListBucketResult>`,
  );
});

test('ListMultipartUploadsResult shows uploads and where to go on', () => {
  assert.equal(
    listMultipartUploadsResult({
      bucket: 'photos',
      keyMarker: '',
      uploadIdMarker: '',
      next: { key: 'a b', uploadId: 'u1' },
      prefix: '',
      delimiter: '/',
      maxUploads: 2,
      encoding: 'url',
      uploads: [UPLOAD],
      commonPrefixes: ['b c/'],
      names: NAMES,
    }),
    `${HEAD}<ListMultipartUploadsResult ${NS}><Bucket>photos</Bucket><KeyMarker></KeyMarker>` +
      '<UploadIdMarker></UploadIdMarker><NextKeyMarker>a%20b</NextKeyMarker>' +
      '<NextUploadIdMarker>u1</NextUploadIdMarker><Prefix></Prefix><Delimiter>/</Delimiter>' +
      '<MaxUploads>2</MaxUploads><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>' +
      `<Upload><Key>a%20b</Key><UploadId>u1</UploadId><Initiator>${OWNER_XML}</Initiator>` +
      `<Owner>${OWNER_XML}</Owner><StorageClass>STANDARD</StorageClass>` +
      '<Initiated>2026-11-20T08:30:00.007Z</Initiated>' +
      '<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>' +
      '</Upload><CommonPrefixes><Prefix>b%20c/</Prefix></CommonPrefixes>' +
      '</ListMultipartUploadsResult>',
  );
});

test('ListMultipartUploadsResult after a common prefix has an empty NextUploadIdMarker', () => {
  const xml = listMultipartUploadsResult({
    bucket: 'photos',
    keyMarker: 'k',
    uploadIdMarker: 'i',
    next: { key: 'p/' },
    prefix: '',
    maxUploads: 1,
    uploads: [],
    commonPrefixes: ['p/'],
    names: NAMES,
  });
  assert.equal(
    xml,
    `${HEAD}<ListMultipartUploadsResult ${NS}><Bucket>photos</Bucket><KeyMarker>k</KeyMarker>` +
      '<UploadIdMarker>i</UploadIdMarker><NextKeyMarker>p/</NextKeyMarker>' +
      '<NextUploadIdMarker></NextUploadIdMarker><Prefix></Prefix><MaxUploads>1</MaxUploads>' +
      '<IsTruncated>true</IsTruncated><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>' +
      '</ListMultipartUploadsResult>',
  );
});

test('InitiateMultipartUploadResult names the upload', () => {
  assert.equal(
    initiateMultipartUploadResult({ bucket: 'photos', key: 'a<b', uploadId: 'u1' }),
    `${HEAD}<InitiateMultipartUploadResult ${NS}><Bucket>photos</Bucket><Key>a&lt;b</Key>` +
      '<UploadId>u1</UploadId></InitiateMultipartUploadResult>',
  );
});

test('CopyPartResult has the checksum only when there is one', () => {
  assert.equal(
    copyPartResult({ etag: 'ab', modifiedMs: AT }),
    `${HEAD}<CopyPartResult ${NS}><LastModified>2026-11-20T08:30:00.007Z</LastModified>` +
      '<ETag>&quot;ab&quot;</ETag></CopyPartResult>',
  );
  assert.equal(
    copyPartResult({
      etag: 'ab',
      modifiedMs: AT,
      checksum: { algorithm: 'CRC64NVME', value: 'AAAA+/=' },
    }),
    `${HEAD}<CopyPartResult ${NS}><LastModified>2026-11-20T08:30:00.007Z</LastModified>` +
      '<ETag>&quot;ab&quot;</ETag><ChecksumCRC64NVME>AAAA+/=</ChecksumCRC64NVME></CopyPartResult>',
  );
});

test('ListPartsResult shows parts with the checksum of the upload', () => {
  const part = { number: 3, size: 5, etag: 'ab', modifiedMs: AT, checksum: 'c2hh' };
  const upload =
    `<Bucket>photos</Bucket><Key>a b</Key><UploadId>u1</UploadId><Initiator>${OWNER_XML}` +
    `</Initiator><Owner>${OWNER_XML}</Owner><StorageClass>STANDARD</StorageClass>`;
  const begin =
    '<Part><PartNumber>3</PartNumber><LastModified>2026-11-20T08:30:00.007Z</LastModified>' +
    '<ETag>&quot;ab&quot;</ETag><Size>5</Size>';
  assert.equal(
    listPartsResult({
      upload: UPLOAD,
      partNumberMarker: 1,
      maxParts: 1,
      truncated: true,
      parts: [part],
      names: NAMES,
    }),
    `${HEAD}<ListPartsResult ${NS}>${upload}<ChecksumAlgorithm>SHA256</ChecksumAlgorithm>` +
      '<ChecksumType>COMPOSITE</ChecksumType><PartNumberMarker>1</PartNumberMarker>' +
      '<NextPartNumberMarker>3</NextPartNumberMarker><MaxParts>1</MaxParts>' +
      `<IsTruncated>true</IsTruncated>${begin}<ChecksumSHA256>c2hh</ChecksumSHA256></Part>` +
      '</ListPartsResult>',
  );
  assert.equal(
    listPartsResult({
      upload: { ...UPLOAD, checksum: undefined },
      partNumberMarker: 0,
      maxParts: 1000,
      truncated: false,
      parts: [],
      names: NAMES,
    }),
    `${HEAD}<ListPartsResult ${NS}>${upload}<PartNumberMarker>0</PartNumberMarker>` +
      '<NextPartNumberMarker>0</NextPartNumberMarker><MaxParts>1000</MaxParts>' +
      '<IsTruncated>false</IsTruncated></ListPartsResult>',
  );
});

test('CompleteMultipartUploadResult says where the object is and what its checksum is', () => {
  const start =
    `${HEAD}<CompleteMultipartUploadResult ${NS}><Location>http://h/photos/k</Location>` +
    '<Bucket>photos</Bucket><Key>k</Key><ETag>&quot;ab-2&quot;</ETag>';
  const result = { location: 'http://h/photos/k', bucket: 'photos', key: 'k', etag: 'ab-2' };
  assert.equal(completeMultipartUploadResult(result), `${start}</CompleteMultipartUploadResult>`);
  assert.equal(
    completeMultipartUploadResult({
      ...result,
      checksum: { algorithm: 'SHA1', type: 'COMPOSITE', value: 'c2hh-2' },
    }),
    `${start}<ChecksumSHA1>c2hh-2</ChecksumSHA1><ChecksumType>COMPOSITE</ChecksumType>` +
      '</CompleteMultipartUploadResult>',
  );
});

test('DeleteResult keeps the order of the request', () => {
  assert.equal(
    deleteResult([
      { key: 'a\u0001', deleted: true },
      { key: 'b', versionId: 'v', deleted: false, code: 'NoSuchVersion', message: 'No & no.' },
      { key: 'c', versionId: 'null', deleted: true },
      { key: 'd', deleted: true, markerId: 'm' },
    ]),
    `${HEAD}<DeleteResult ${NS}><Deleted><Key>a&#x1;</Key></Deleted>` +
      '<Error><Key>b</Key><VersionId>v</VersionId><Code>NoSuchVersion</Code>' +
      '<Message>No &amp; no.</Message></Error>' +
      '<Deleted><Key>c</Key><VersionId>null</VersionId></Deleted>' +
      '<Deleted><Key>d</Key><DeleteMarker>true</DeleteMarker>' +
      '<DeleteMarkerVersionId>m</DeleteMarkerVersionId></Deleted></DeleteResult>',
  );
  assert.equal(deleteResult([]), `${HEAD}<DeleteResult ${NS}></DeleteResult>`);
});

test('urlEncode keeps slashes and unreserved characters and is undone by any decoder', () => {
  const kept = 'AZaz09-_.~*/';
  assert.equal(urlEncode(kept), kept);
  assert.equal(
    urlEncode(' !"#$%&\'()+,:;<=>?@[]{|}'),
    '%20%21%22%23%24%25%26%27%28%29%2B%2C%3A%3B%3C%3D%3E%3F%40%5B%5D%7B%7C%7D',
  );
  assert.equal(urlEncode('\u0001\nä€😀'), '%01%0A%C3%A4%E2%82%AC%F0%9F%98%80');
  assert.equal(decodeURIComponent(urlEncode('a +/%20😀').replaceAll('+', ' ')), 'a +/%20😀');
});
