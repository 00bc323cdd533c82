/** Encryption headers as no SDK would send them; and that no key is ever logged. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { customerKey, ENCRYPTION, keyText } from '../support/encryption.ts';
import type { RawAnswer } from '../support/raw.ts';
import { refusedWith } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer({ config: { encryption: ENCRYPTION } });
const SSE = 'x-amz-server-side-encryption';

const { SSECustomerKey, SSECustomerKeyMD5 } = customerKey('mine');
const KEY = {
  [`${SSE}-customer-algorithm`]: 'AES256',
  [`${SSE}-customer-key`]: SSECustomerKey,
  [`${SSE}-customer-key-md5`]: SSECustomerKeyMD5,
};

const send = (method: string, path: string, headers: Record<string, string>): Promise<RawAnswer> =>
  server.send({ method, path, headers, ...(method === 'PUT' && { body: 'x' }) });

function answers(answer: RawAnswer, expected: string, what?: string): void {
  assert.equal(`${answer.status} ${answer.code}`, expected, what ?? answer.body);
}

test('headers that contradict each other or are incomplete are refused, and nothing is stored', async () => {
  const bucket = await server.bucket();
  const path = `/${bucket}/a`;
  const cases: [Record<string, string>, string][] = [
    [{ [SSE]: 'AES256', ...KEY }, '400 InvalidArgument'],
    [{ [SSE]: 'aws:kms', ...KEY }, '400 InvalidArgument'],
    [{ [SSE]: 'aes256' }, '400 InvalidArgument'],
    [{ [SSE]: '' }, '400 InvalidArgument'],
    [{ [SSE]: 'AES256,AES256' }, '400 InvalidArgument'],
    [{ [SSE]: 'aws:kms:dsse' }, '501 NotImplemented'],
    [{ [`${SSE}-aws-kms-key-id`]: 'k1' }, '400 InvalidArgument'],
    [{ [SSE]: 'aws:kms', [`${SSE}-context`]: 'W10=' }, '400 InvalidArgument'],
    [{ ...KEY, [`${SSE}-customer-algorithm`]: 'AES128' }, '400 InvalidEncryptionAlgorithmError'],
    [{ ...KEY, [`${SSE}-customer-key`]: '' }, '400 InvalidArgument'],
    [{ ...KEY, [`${SSE}-customer-key-md5`]: 'AAAAAAAAAAAAAAAAAAAAAA==' }, '400 InvalidArgument'],
    [{ [`${SSE}-customer-key`]: SSECustomerKey }, '400 InvalidArgument'],
    [{ [`${SSE}-customer-algorithm`]: 'AES256' }, '400 InvalidArgument'],
    [{ [`${SSE}-something-else`]: 'x' }, '501 NotImplemented'],
  ];
  for (const [headers, expected] of cases) {
    answers(await send('PUT', path, headers), expected, JSON.stringify(headers));
  }
  await refusedWith(404, server.s3.headObject({ Bucket: bucket, Key: 'a' }));
});

test('a header of writes on a read is refused, whatever the object is', async () => {
  const Bucket = await server.bucket();
  await server.s3.putObject({ Bucket, Key: 'a', Body: 'x', ServerSideEncryption: 'AES256' });
  const path = `/${Bucket}/a`;
  answers(await send('GET', path, { [SSE]: 'AES256' }), '400 InvalidArgument');
  answers(await send('GET', path, { [`${SSE}-aws-kms-key-id`]: 'k1' }), '400 InvalidArgument');
  assert.equal((await send('HEAD', path, { [SSE]: 'AES256' })).status, 400);
  answers(await send('GET', path, KEY), '400 InvalidRequest');
  answers(await send('GET', path, {}), '200 ');
});

test('a part that asks for another mode than its upload is refused, not stored without', async () => {
  const Bucket = await server.bucket();
  const { UploadId = '' } = await server.s3.createMultipartUpload({ Bucket, Key: 'a' });
  const path = `/${Bucket}/a`;
  const query = `partNumber=1&uploadId=${UploadId}`;
  const part = (headers: Record<string, string>) =>
    server.send({ method: 'PUT', path, query, headers, body: 'x' });
  answers(await part({ [SSE]: 'AES256' }), '400 InvalidRequest');
  answers(await part({ [SSE]: 'aws:kms' }), '400 InvalidRequest');
  answers(await part(KEY), '400 InvalidRequest');
  answers(await part({}), '200 ');
});

test('a presigned URL may carry the mode', async () => {
  const Bucket = await server.bucket();
  const path = `/${Bucket}/a`;
  const query = server.presign({ method: 'PUT', path, query: `${SSE}=AES256` });
  const answer = await server.sendUnsigned(
    'PUT',
    `${path}?${query}`,
    { 'content-length': '1' },
    'x',
  );
  assert.equal(answer.status, 200, answer.body);
  const head = await server.s3.headObject({ Bucket, Key: 'a' });
  assert.equal(head.ServerSideEncryption, 'AES256');
});

test('documents of PutBucketEncryption that are none are MalformedXML', async () => {
  const bucket = await server.bucket();
  const rule =
    '<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>';
  const root = (inner: string) =>
    `<ServerSideEncryptionConfiguration>${inner}</ServerSideEncryptionConfiguration>`;
  const put = (body: string) =>
    server.send({ method: 'PUT', path: `/${bucket}`, query: 'encryption=', body });
  for (const body of [
    'x',
    root(''),
    root('<Rule/>'),
    root(`${rule}${rule}`),
    root('<Other/>'),
    root('<Rule><ApplyServerSideEncryptionByDefault/></Rule>'),
    root(rule.replace('AES256', ' aes256 ')),
    root(rule.replace('</Rule>', '<BucketKeyEnabled>yes</BucketKeyEnabled></Rule>')),
    root(rule.replace('</Rule>', '<BlockedEncryptionTypes/></Rule>')),
    `<!DOCTYPE x>${root(rule)}`,
  ]) {
    answers(await put(body), '400 MalformedXML', body);
  }
  answers(await put(''), '400 MissingRequestBodyError');
  assert.equal((await put(root(rule))).status, 200);
});

test('no key of a client, and none of ours, is in the log', async () => {
  const Bucket = await server.bucket();
  const path = `/${Bucket}/a`;
  answers(await send('PUT', path, KEY), '200 ');
  const wrong = customerKey('wrong');
  const other = {
    ...KEY,
    [`${SSE}-customer-key`]: wrong.SSECustomerKey,
    [`${SSE}-customer-key-md5`]: wrong.SSECustomerKeyMD5,
  };
  answers(await send('GET', path, other), '403 AccessDenied');
  answers(await send('GET', path, { ...KEY, range: 'bytes=9-' }), '416 InvalidRange');
  server.assertLogHoldsNoSecrets();
  for (const name of ['mine', 'wrong', 'master', 'k1', 'k2']) {
    assert.ok(!server.log().includes(keyText(name)), name);
  }
});
