import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addCorsHeaders, answerPreflight, type CorsRule, decodeCors, encodeCors } from './cors.ts';
import { S3Error } from './errors.ts';
import type { RawReply } from './request.ts';

const VARY = 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method';

function rule(more: Partial<CorsRule> = {}): CorsRule {
  return {
    allowedHeaders: [],
    allowedMethods: ['GET'],
    allowedOrigins: ['https://example.com'],
    exposeHeaders: [],
    ...more,
  };
}

type Sent = Record<string, string>;

const from = (origin: string, method = 'GET', headers?: string): Sent => ({
  origin,
  'access-control-request-method': method,
  ...(headers === undefined ? {} : { 'access-control-request-headers': headers }),
});

/** The headers of a preflight's answer that have a value. */
function preflight(rules: CorsRule[] | undefined, headers: Sent, key = 'k'): RawReply['headers'] {
  const reply = answerPreflight({ headers, key }, { kind: 'found', rules });
  assert.equal(reply.status, 200);
  assert.equal(reply.body, '');
  return present(reply);
}

function present({ headers }: RawReply): RawReply['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined));
}

function refused(rules: CorsRule[] | undefined, headers: Sent, key = 'k'): string {
  try {
    answerPreflight({ headers, key }, { kind: 'found', rules });
  } catch (error) {
    assert.ok(error instanceof S3Error);
    return [error.status, error.code, error.message, ...Object.values(error.details)].join(' | ');
  }
  return 'allowed';
}

function actual(rules: CorsRule[], headers: Sent, method = 'GET'): RawReply['headers'] {
  const reply: RawReply = { status: 200, headers: { ETag: '"x"' } };
  addCorsHeaders(reply, { method, headers }, rules);
  return present(reply);
}

const allowsOrigin = (pattern: string, origin: string): unknown =>
  actual([rule({ allowedOrigins: [pattern] })], { origin })['Access-Control-Allow-Origin'];

test('a preflight that a rule allows gets all that the rule says', () => {
  const full = rule({
    allowedHeaders: ['*'],
    allowedMethods: ['GET', 'PUT'],
    exposeHeaders: ['ETag', 'x-amz-request-id'],
    maxAgeSeconds: 3000,
  });
  assert.deepEqual(
    preflight([full], from('https://example.com', 'PUT', 'X-Amz-Date,  content-type')),
    {
      'Access-Control-Allow-Origin': 'https://example.com',
      'Access-Control-Allow-Methods': 'GET, PUT',
      'Access-Control-Allow-Headers': 'x-amz-date, content-type',
      'Access-Control-Expose-Headers': 'ETag, x-amz-request-id',
      'Access-Control-Max-Age': 3000,
      'Access-Control-Allow-Credentials': 'true',
      Vary: VARY,
    },
  );
});

test('an origin of * is answered with * and never with credentials', () => {
  assert.deepEqual(preflight([rule({ allowedOrigins: ['*'] })], from('http://random:1234')), {
    'Access-Control-Allow-Origin': '*',
    'Access-Control-Allow-Methods': 'GET',
    Vary: VARY,
  });
  const both = rule({ allowedOrigins: ['https://example.com', '*'] });
  const reply = actual([both], { origin: 'https://example.com' });
  assert.equal(reply['Access-Control-Allow-Origin'], 'https://example.com');
});

test('a preflight that cannot be one is BadRequest', () => {
  const origin = 'https://example.com';
  const rules = [rule()];
  assert.equal(
    refused(rules, {}),
    '400 | BadRequest | Insufficient information. Origin request header needed.',
  );
  assert.equal(
    refused(undefined, {}),
    '400 | BadRequest | Insufficient information. Origin request header needed.',
  );
  assert.equal(
    refused(rules, { origin }),
    '400 | BadRequest | Invalid Access-Control-Request-Method: null',
  );
  for (const method of ['get', 'PATCH', 'OPTIONS', '', '*']) {
    assert.equal(
      refused(rules, from(origin, method)),
      `400 | BadRequest | Invalid Access-Control-Request-Method: ${method}`,
    );
  }
});

test('a preflight that no rule allows is AccessForbidden and says of what', () => {
  const origin = 'https://example.com';
  const spec =
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
  assert.equal(
    refused([rule()], from(origin, 'PUT')),
    `403 | AccessForbidden | ${spec} | PUT | OBJECT`,
  );
  assert.equal(
    refused([rule()], from('http://example.com'), ''),
    `403 | AccessForbidden | ${spec} | GET | BUCKET`,
  );
  assert.equal(
    refused([rule()], from(origin, 'GET', 'x-a')),
    `403 | AccessForbidden | ${spec} | GET | OBJECT`,
  );
  const off = 'CORSResponse: CORS is not enabled for this bucket.';
  assert.equal(
    refused(undefined, from(origin, 'PUT')),
    `403 | AccessForbidden | ${off} | PUT | BUCKET`,
  );
  assert.equal(refused(undefined, { origin }), `403 | AccessForbidden | ${off} | OPTIONS | BUCKET`);
  assert.throws(() => answerPreflight({ headers: { origin }, key: 'k' }, { kind: 'none' }), {
    code: 'AccessForbidden',
    message: 'CORSResponse: Bucket not found',
    details: { Method: 'OPTIONS', ResourceType: 'BUCKET' },
  });
});

test('a pattern has at most one star, which stands for any text, also none', () => {
  const table: [pattern: string, origin: string, allowed: boolean][] = [
    ['*suffix', 'foo.suffix', true],
    ['*suffix', 'suffix', true],
    ['*suffix', 'foo.suffix.get', false],
    ['start*end', 'startend', true],
    ['start*end', 'start12end', true],
    ['start*end', '0start12end', false],
    ['start*end', 'starend', false],
    ['ab*ba', 'aba', false],
    ['prefix*', 'prefix', true],
    ['prefix*', 'bla.prefix', false],
    ['https://*.example.com', 'https://a.b.example.com', true],
    ['https://*.example.com', 'https://example.com', false],
    ['https://example.com', 'HTTPS://example.com', false],
    ['http://a.c', 'http://abc', false],
    ['', 'null', false],
  ];
  for (const [pattern, origin, allowed] of table) {
    assert.equal(
      allowsOrigin(pattern, origin),
      allowed ? origin : undefined,
      `${pattern} ${origin}`,
    );
  }
});

test('requested headers are compared without case, each must be allowed by the same rule', () => {
  const origin = 'https://example.com';
  const one = rule({ allowedHeaders: ['x-AMZ-*', 'Content-Type'] });
  const allowed = (names: string): unknown => {
    const told = refused([one], from(origin, 'GET', names));
    return told === 'allowed';
  };
  assert.ok(allowed('X-Amz-Date'));
  assert.ok(allowed('x-amz-meta-a, content-type'));
  assert.ok(allowed(''));
  assert.ok(allowed(' , ,'));
  assert.equal(allowed('content-type, authorization'), false);
  assert.equal(allowed('y-amz-date'), false);
  const other = rule({ allowedHeaders: ['authorization'] });
  assert.match(refused([one, other], from(origin, 'GET', 'content-type,authorization')), /^403/);
});

test('an unsigned client cannot have thousands of headers compared', () => {
  const any = rule({ allowedHeaders: ['*'] });
  const many = (count: number): string =>
    Array.from({ length: count }, (_, index) => `h${index}`).join();
  const origin = 'https://example.com';
  assert.equal(refused([any], from(origin, 'GET', many(100))), 'allowed');
  assert.match(refused([any], from(origin, 'GET', many(101))), /^403/);
  assert.match(refused([any], from(origin, 'GET', many(5_000))), /^403/);
});

test('the first rule that allows all of a request counts', () => {
  const rules = [
    rule({ allowedMethods: ['PUT'], maxAgeSeconds: 1 }),
    rule({ allowedOrigins: ['https://other.com'], maxAgeSeconds: 2 }),
    rule({ maxAgeSeconds: 3 }),
    rule({ allowedOrigins: ['*'], maxAgeSeconds: 4 }),
  ];
  assert.equal(actual(rules, { origin: 'https://example.com' })['Access-Control-Max-Age'], 3);
  assert.equal(actual(rules, { origin: 'https://third.com' })['Access-Control-Max-Age'], 4);
});

test('an actual request is judged by its method, or by what it says of a preflight', () => {
  const origin = 'https://example.com';
  const rules = [rule()];
  assert.equal(actual(rules, { origin })['Access-Control-Allow-Origin'], origin);
  assert.equal(actual(rules, { origin }, 'PUT')['Access-Control-Allow-Origin'], undefined);
  assert.equal(actual(rules, from(origin, 'GET'), 'PUT')['Access-Control-Allow-Origin'], origin);
  assert.equal(actual(rules, from(origin, 'PUT'), 'GET')['Access-Control-Allow-Origin'], undefined);
  assert.equal(actual(rules, from(origin, 'GET', 'x-a'))['Access-Control-Allow-Origin'], undefined);
});

test('a reply that no rule allows keeps its headers and tells caches that the origin matters', () => {
  assert.deepEqual(actual([rule()], { origin: 'https://evil.com' }), { ETag: '"x"', Vary: VARY });
});

test('rules come back from the metadata service as they went', () => {
  const rules = [rule({ id: 'a', maxAgeSeconds: 0, exposeHeaders: ['ETag'] }), rule()];
  assert.deepEqual(decodeCors(encodeCors(rules)), rules);
});
