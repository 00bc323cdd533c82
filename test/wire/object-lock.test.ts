/** Object lock by hand: documents and headers that no SDK sends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawAnswer } from '../support/raw.ts';
import { digest } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();
const md5 = (body: string) => ({ 'content-md5': digest('md5', body, 'base64') });
const DATE = '2099-01-01T00:00:00Z';

function answers(answer: RawAnswer, status: number, code: string, what: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], `${what}: ${answer.body}`);
}

/** A bucket with object lock and the object `a`. */
async function lockedBucket(name: string): Promise<string> {
  const headers = { 'x-amz-bucket-object-lock-enabled': 'True' };
  assert.equal((await server.send({ method: 'PUT', path: `/${name}`, headers })).status, 200);
  await server.s3.putObject({ Bucket: name, Key: 'a', Body: 'x' });
  return name;
}

const DOCUMENTS: readonly [path: string, query: string, good: string][] = [
  [
    '',
    'object-lock=',
    '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>',
  ],
  [
    '/a',
    'retention=',
    `<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>${DATE}</RetainUntilDate></Retention>`,
  ],
  ['/a', 'legal-hold=', '<LegalHold><Status>OFF</Status></LegalHold>'],
];

test('documents of object lock need a digest, and to be what S3 knows', async () => {
  const bucket = await lockedBucket('wire-documents');
  for (const [key, query, good] of DOCUMENTS) {
    const request = { method: 'PUT', path: `/${bucket}${key}`, query };
    answers(await server.send({ ...request, body: good }), 400, 'InvalidRequest', query);
    const wrong = { ...request, body: good, headers: md5('other') };
    answers(await server.send(wrong), 400, 'BadDigest', query);
    const root = good.slice(1, good.indexOf('>'));
    for (const body of [
      '<',
      good.slice(0, -1),
      good.replaceAll(root, 'Other'),
      good.replace(`</${root}>`, `<Unknown/></${root}>`),
      `<!DOCTYPE x [<!ENTITY e "x">]>${good}`,
      'ON',
    ]) {
      const bad = { ...request, body, headers: md5(body) };
      answers(await server.send(bad), 400, 'MalformedXML', `${query} ${body}`);
    }
    const empty = { ...request, body: '', headers: md5('') };
    answers(await server.send(empty), 400, 'MissingRequestBodyError', query);
    const taken = await server.send({ ...request, body: good, headers: md5(good) });
    assert.equal(taken.status, 200, taken.body);
  }
});

test('headers of object lock are read strictly, and only where they mean something', async () => {
  const bucket = await lockedBucket('wire-headers');
  const mode = 'x-amz-object-lock-mode';
  const until = 'x-amz-object-lock-retain-until-date';
  const put = (headers: Record<string, string>) =>
    server.send({ method: 'PUT', path: `/${bucket}/b`, body: 'x', headers });
  const lock = { [mode]: 'GOVERNANCE', [until]: DATE };
  answers(await put(lock), 400, 'InvalidRequest', 'no digest');
  for (const headers of [
    { [mode]: 'GOVERNANCE' },
    { [until]: DATE },
    { ...lock, [mode]: 'Governance' },
    { ...lock, [until]: 'tomorrow' },
    { ...lock, [until]: '2001-01-01T00:00:00Z' },
    { 'x-amz-object-lock-legal-hold': 'yes' },
  ]) {
    const what = JSON.stringify(headers);
    answers(await put({ ...md5('x'), ...headers }), 400, 'InvalidArgument', what);
  }
  const part = { method: 'PUT', path: `/${bucket}/b`, query: 'partNumber=1&uploadId=u', body: 'x' };
  answers(await server.send({ ...part, headers: lock }), 501, 'NotImplemented', 'part');
  const Rule = { DefaultRetention: { Mode: 'GOVERNANCE' as const, Days: 1 } };
  const ObjectLockConfiguration = { ObjectLockEnabled: 'Enabled' as const, Rule };
  await server.s3.putObjectLockConfiguration({ Bucket: bucket, ObjectLockConfiguration });
  answers(await put({}), 400, 'InvalidRequest', 'no digest under default retention');
  assert.equal((await put(md5('x'))).status, 200);
  const asked = { 'x-amz-bucket-object-lock-enabled': 'yes' };
  const creation = { method: 'PUT', path: '/wire-neither', headers: asked };
  answers(await server.send(creation), 400, 'InvalidArgument', 'creation');
  assert.equal((await put({ ...md5('x'), ...lock })).status, 200);
});
