/** Hostile and odd input to what says who may do what, signed by hand. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer({ config: { newBuckets: 'open' } });

const NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"';
const OWNER = createHash('sha256').update('ashlar:root').digest('hex');
const GRANT = `<Grant><Grantee ${XSI} xsi:type="CanonicalUser"><ID>${OWNER}</ID></Grantee><Permission>READ</Permission></Grant>`;

const acl = (grants: string, owner = OWNER): string =>
  `<AccessControlPolicy ${NS}><Owner><ID>${owner}</ID></Owner><AccessControlList>${grants}</AccessControlList></AccessControlPolicy>`;

async function told(
  path: string,
  query: string,
  body: string,
  headers: Record<string, string> = {},
): Promise<string> {
  const answer = await server.send({ method: 'PUT', path, query, body, headers });
  return `${answer.status} ${answer.code ?? ''}`.trim();
}

test('ACL documents that are none are refused, with nothing changed', async () => {
  const bucket = await server.bucket();
  await server.s3.putObject({ Bucket: bucket, Key: 'a', Body: 'x' });
  const wrong: [string, string][] = [
    ['400 MalformedACLError', '<AccessControlPolicy'],
    ['400 MalformedACLError', '<Other/>'],
    ['400 MalformedACLError', `<AccessControlPolicy ${NS}/>`],
    ['400 MalformedACLError', acl('text')],
    ['400 MalformedACLError', acl('<Grant/>')],
    ['400 MalformedACLError', acl('<Grant><Permission>READ</Permission></Grant>')],
    ['400 MalformedACLError', acl(GRANT.replace('READ', 'EVERYTHING'))],
    ['400 MalformedACLError', acl(GRANT.replace('READ', ''))],
    ['400 MalformedACLError', acl(GRANT.replace('<ID>', '<Name>').replace('</ID>', '</Name>'))],
    ['400 MalformedACLError', acl(GRANT.replace('</ID>', '</ID><URI>x</URI>'))],
    ['400 MalformedACLError', acl(GRANT.replace(`<ID>${OWNER}</ID>`, ''))],
    ['400 MalformedACLError', acl(GRANT.repeat(101))],
    ['400 MalformedACLError', `<!DOCTYPE a [<!ENTITY b "c">]>${acl(GRANT)}`],
    ['400 InvalidArgument', acl(GRANT.replace(OWNER, 'nobody'))],
    ['400 InvalidArgument', acl(GRANT.replace(OWNER, '__proto__'))],
    ['400 InvalidArgument', acl(GRANT.replace(OWNER, `${'0'.repeat(63)}\u00e9`))],
    ['400 MaxMessageLengthExceeded', acl(GRANT.repeat(20_000))],
    ['403 AccessDenied', acl(GRANT, '0'.repeat(64))],
    ['400 MissingSecurityHeader', ''],
    ['400 MissingSecurityHeader', '  \n'],
  ];
  for (const path of [`/${bucket}`, `/${bucket}/a`]) {
    for (const [outcome, body] of wrong) {
      assert.equal(await told(path, 'acl=', body), outcome, `${path} ${body.slice(0, 300)}`);
    }
  }
  for (const answer of [
    await server.s3.getBucketAcl({ Bucket: bucket }),
    await server.s3.getObjectAcl({ Bucket: bucket, Key: 'a' }),
  ]) {
    assert.deepEqual(
      answer.Grants?.map(({ Permission }) => Permission),
      ['FULL_CONTROL'],
    );
  }
  assert.equal(await told(`/${bucket}/a`, 'acl=', acl(GRANT.repeat(100))), '200');
});

test('ACL headers that contradict each other, or say nothing, are refused', async () => {
  const bucket = await server.bucket();
  const put = (headers: Record<string, string>, query = 'acl=', body = '') =>
    told(`/${bucket}`, query, body, headers);
  assert.equal(await put({ 'x-amz-acl': 'public' }), '400 InvalidArgument');
  assert.equal(await put({ 'x-amz-acl': '' }), '400 InvalidArgument');
  assert.equal(await put({ 'x-amz-acl': 'Public-Read' }), '400 InvalidArgument');
  assert.equal(await put({ 'x-amz-acl': 'private' }, 'acl=', acl(GRANT)), '400 UnexpectedContent');
  const both = { 'x-amz-acl': 'private', 'x-amz-grant-read': `id=${OWNER}` };
  assert.equal(await put(both), '400 InvalidRequest');
  for (const value of [
    '',
    ',',
    'id=',
    'id=""',
    `id="${OWNER}`,
    `id=${OWNER},`,
    `name=${OWNER}`,
    `id=${OWNER} id=${OWNER}`,
    'uri=http://acs.amazonaws.com/groups/global/allusers',
    'uri="http://acs.amazonaws.com/groups/global/AllUsers/"',
    `id="${OWNER}\u00a0"`,
    '"'.repeat(5000),
  ]) {
    const outcome = await put({ 'x-amz-grant-write': value });
    assert.equal(outcome, '400 InvalidArgument', JSON.stringify(value.slice(0, 80)));
  }
  const many = Array.from({ length: 101 }, () => `id=${OWNER}`).join(',');
  assert.equal(await put({ 'x-amz-grant-read': many }), '400 MalformedACLError');
  const spaced = ` id = "${OWNER}" ,uri="http://acs.amazonaws.com/groups/s3/LogDelivery"`;
  assert.equal(await put({ 'x-amz-grant-read': spaced }), '200');
  // What makes nothing takes no ACL: it would be dropped.
  const read = await server.send({
    method: 'GET',
    path: `/${bucket}`,
    headers: { 'x-amz-grant-read': `id=${OWNER}` },
  });
  assert.equal(read.code, 'NotImplemented');
});

test('ownership controls and public access blocks that are none are refused', async () => {
  const bucket = await server.bucket();
  const rule = (what: string) => `<OwnershipControls ${NS}>${what}</OwnershipControls>`;
  const owner = (text: string) => `<Rule><ObjectOwnership>${text}</ObjectOwnership></Rule>`;
  for (const body of [
    rule(''),
    rule('<Rule/>'),
    rule(owner('')),
    rule(owner('Everybody')),
    rule(owner('ObjectWriter').repeat(2)),
    rule('<Rule><Owner>ObjectWriter</Owner></Rule>'),
    '<Rule/>',
    'ObjectWriter',
  ]) {
    assert.equal(await told(`/${bucket}`, 'ownershipControls=', body), '400 MalformedXML', body);
  }
  assert.equal(await told(`/${bucket}`, 'ownershipControls=', ''), '400 MissingRequestBodyError');
  const block = (what: string) =>
    `<PublicAccessBlockConfiguration ${NS}>${what}</PublicAccessBlockConfiguration>`;
  for (const body of [
    block('<BlockPublicAcls>yes</BlockPublicAcls>'),
    block('<BlockPublicAcls/>'),
    block('<BlockPublicAcls>true</BlockPublicAcls>'.repeat(2)),
    block('<BlockEverything>true</BlockEverything>'),
    '<BlockPublicAcls>true</BlockPublicAcls>',
  ]) {
    assert.equal(await told(`/${bucket}`, 'publicAccessBlock=', body), '400 MalformedXML', body);
  }
  assert.equal(await told(`/${bucket}`, 'publicAccessBlock=', ''), '400 MissingRequestBodyError');
  const header = { 'x-amz-object-ownership': 'Everybody' };
  assert.equal(await told('/never-made', '', '', header), '400 InvalidArgument');
});

test('a header that would give an ACL must be signed, as header or as query', async () => {
  const bucket = await server.bucket();
  const signed = server.sign({ method: 'PUT', path: `/${bucket}/a`, body: 'x' });
  const answer = await server.sendUnsigned(
    'PUT',
    `/${bucket}/a`,
    { ...signed.headers, 'x-amz-acl': 'public-read' },
    'x',
  );
  assert.equal(answer.code, 'AccessDenied');
  const query = server.presign({ method: 'PUT', path: `/${bucket}/a` });
  const forged = `/${bucket}/a?${query}&x-amz-acl=public-read`;
  const forgedAnswer = await server.sendUnsigned('PUT', forged, {}, 'x');
  assert.equal(forgedAnswer.status, 403);
  const right = server.presign({
    method: 'PUT',
    path: `/${bucket}/a`,
    query: 'x-amz-acl=public-read',
  });
  assert.equal((await server.sendUnsigned('PUT', `/${bucket}/a?${right}`, {}, 'x')).status, 200);
  assert.equal((await server.sendUnsigned('GET', `/${bucket}/a`)).status, 200);
});

test('a request of nobody is judged before its body is read', async () => {
  const bucket = await server.bucket();
  const head = { 'content-length': String(100 * 1024 * 1024), expect: '100-continue' };
  const answer = await server.sendUnsigned('PUT', `/${bucket}/a`, head);
  assert.equal(answer.code, 'AccessDenied');
});

test('nobody uploads by chunks with a trailer, too, and is held to the checksum', async () => {
  const bucket = await server.bucket();
  await server.s3.putBucketAcl({ Bucket: bucket, ACL: 'public-read-write' });
  const put = (key: string, checksum: string) =>
    server.sendUnsigned(
      'PUT',
      `/${bucket}/${key}`,
      {
        'content-encoding': 'aws-chunked',
        'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        'x-amz-decoded-content-length': '5',
        'x-amz-trailer': 'x-amz-checksum-crc32',
        'x-amz-acl': 'public-read',
      },
      `5\r\nhello\r\n0\r\nx-amz-checksum-crc32:${checksum}\r\n\r\n`,
    );
  assert.equal((await put('good', 'NhCmhg==')).status, 200);
  assert.equal((await put('bad', 'AAAAAA==')).code, 'BadDigest');
  const read = await server.sendUnsigned('GET', `/${bucket}/good`);
  assert.deepEqual([read.status, read.body], [200, 'hello']);
  // He may list, so he is told that there is no such key.
  assert.equal((await server.sendUnsigned('GET', `/${bucket}/bad`)).code, 'NoSuchKey');
});

test('neither secrets nor signatures are in the log', () => {
  server.assertLogHoldsNoSecrets();
});
