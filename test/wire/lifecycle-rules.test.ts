/** Lifecycle rules by hand: documents and headers that no SDK sends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawAnswer } from '../support/raw.ts';
import { digest } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const server = useWireServer();
const md5 = (body: string) => ({ 'content-md5': digest('md5', body, 'base64') });
const GOOD =
  '<LifecycleConfiguration><Rule><ID>a</ID><Filter/><Status>Enabled</Status><Expiration><Days>3000</Days></Expiration></Rule></LifecycleConfiguration>';

function answers(answer: RawAnswer, status: number, code: string, what: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], `${what}: ${answer.body}`);
}

test('rules need a digest, and to be what S3 knows', async () => {
  const path = `/${await server.bucket()}`;
  const request = { method: 'PUT', path, query: 'lifecycle=' };
  answers(await server.send({ ...request, body: GOOD }), 400, 'InvalidRequest', 'no digest');
  const other = { ...request, body: GOOD, headers: md5('other') };
  answers(await server.send(other), 400, 'BadDigest', 'digest');
  const empty = { ...request, body: '', headers: md5('') };
  answers(await server.send(empty), 400, 'MissingRequestBodyError', 'empty');
  for (const body of [
    '<',
    GOOD.slice(0, -1),
    GOOD.replaceAll('LifecycleConfiguration', 'Lifecycle'),
    GOOD.replaceAll('Rule>', 'Regel>'),
    GOOD.replace('<Filter/>', '<Filter><Unknown/></Filter>'),
    GOOD.replace('<Filter/>', ''),
    GOOD.replace('Enabled', 'On'),
    `<!DOCTYPE x [<!ENTITY e "1">]>${GOOD.replace('3000', '&e;')}`,
    GOOD.replace('3000', '&#51;e3'),
    `${'<a>'.repeat(50)}${'</a>'.repeat(50)}`,
  ]) {
    answers(await server.send({ ...request, body, headers: md5(body) }), 400, 'MalformedXML', body);
  }
  const missing = await server.send({ method: 'GET', path, query: 'lifecycle=' });
  answers(missing, 404, 'NoSuchLifecycleConfiguration', 'nothing was kept');
  const size = { ...md5(GOOD), 'x-amz-transition-default-minimum-object-size': 'some' };
  answers(
    await server.send({ ...request, body: GOOD, headers: size }),
    400,
    'InvalidArgument',
    'size',
  );
  const taken = await server.send({ ...request, body: GOOD, headers: md5(GOOD) });
  assert.equal(taken.status, 200, taken.body);
  const read = await server.send({ method: 'GET', path, query: 'lifecycle=' });
  assert.match(read.body, /<Rule><ID>a<\/ID><Filter><\/Filter><Status>Enabled<\/Status>/);
});

test('rules that are too long to be kept are refused in words', async () => {
  const path = `/${await server.bucket()}`;
  let seed = 1;
  const letters = () =>
    Array.from({ length: 250 }, () => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return String.fromCharCode(0x4e00 + (seed >>> 19));
    }).join('');
  const rules = Array.from({ length: 500 }, () => {
    const id = `<ID>${letters()}</ID>`;
    return `<Rule>${id}<Filter/><Status>Enabled</Status><Expiration><Days>3000</Days></Expiration></Rule>`;
  });
  const body = `<LifecycleConfiguration>${rules.join('')}</LifecycleConfiguration>`;
  const request = { method: 'PUT', path, query: 'lifecycle=', body, headers: md5(body) };
  answers(await server.send(request), 400, 'InvalidRequest', 'too long');
});
