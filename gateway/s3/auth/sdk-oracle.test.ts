/** What AWS's own signers sign is accepted; the same with one thing changed is refused. */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import type { RawRequest } from '../request.ts';
import {
  authenticateExample,
  bodyCodeOf,
  bytesOf,
  codeOf,
  EXAMPLE,
  EXAMPLE_TIME,
  rawRequest,
  readAll,
  withHeaders,
} from './test-support.ts';
import { parseBasicTime } from './times.ts';

const credentials = { accessKeyId: EXAMPLE.accessKey, secretAccessKey: EXAMPLE.secretKey };

/** The hash that @smithy/signature-v4 asks for. */
class Sha256 {
  readonly #hash;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    if (secret === undefined) this.#hash = createHash('sha256');
    else this.#hash = createHmac('sha256', typeof secret === 'string' ? secret : bytes(secret));
  }
  update(data: Uint8Array): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    throw new Error('not used');
  }
}

function bytes(view: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(view)
    ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    : new Uint8Array(view);
}

const signer = new SignatureV4({
  service: 's3',
  region: 'us-east-1',
  credentials,
  sha256: Sha256,
  uriEscapePath: false,
});

function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

type Query = Record<string, string | string[] | null>;

function queryText(query: Query): string {
  return Object.entries(query)
    .flatMap(([name, values]) =>
      (Array.isArray(values) ? values : [values]).map((value) =>
        value === null ? encode(name) : `${encode(name)}=${encode(value)}`,
      ),
    )
    .join('&');
}

const METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD'] as const;
/** Keys with everything that clients trip over. */
const keys = fc.oneof(
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
  fc.constantFrom(
    'a b',
    'a+b',
    'a~b',
    '//',
    '../x',
    'a/../b',
    'a%2Fb',
    '%',
    'ключ',
    "(a)!*'$&=;:@,",
    'a/',
  ),
);
const headerValues = fc.string({ unit: 'grapheme-ascii', maxLength: 20 });
const requests = fc.record({
  method: fc.constantFrom(...METHODS),
  key: keys,
  query: fc.dictionary(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
    fc.string({ unit: 'grapheme', maxLength: 8 }),
    { maxKeys: 4, noNullPrototype: true },
  ),
  meta: fc.dictionary(fc.stringMatching(/^x-amz-meta-[a-z]{1,5}$/), headerValues, {
    maxKeys: 3,
    noNullPrototype: true,
  }),
  body: fc.string({ maxLength: 20 }),
});

async function signWithSmithy(input: {
  method: string;
  key: string;
  query: Record<string, string>;
  meta: Record<string, string>;
  body: string;
}): Promise<RawRequest> {
  const path = `/bucket/${input.key.split('/').map(encode).join('/')}`;
  const payloadHash = createHash('sha256').update(input.body).digest('hex');
  const request = await signer.sign(
    {
      method: input.method,
      protocol: 'http:',
      hostname: 'localhost',
      path,
      query: input.query,
      headers: { ...input.meta, host: 'localhost:9000', 'x-amz-content-sha256': payloadHash },
      body: input.body,
    },
    { signingDate: new Date(EXAMPLE_TIME) },
  );
  return rawRequest({
    method: input.method,
    rawPath: path,
    rawQuery: queryText(input.query),
    headers: request.headers,
    contentLength: Buffer.byteLength(input.body),
    body: bytesOf(Buffer.from(input.body)),
  });
}

/** Characters that a SigV4 signer or a URL cannot carry are no test of ours. */
function signable(input: { key: string; query: Record<string, string> }): boolean {
  const texts = [input.key, ...Object.keys(input.query), ...Object.values(input.query)];
  return (
    texts.every((text) => text.isWellFormed()) &&
    Object.keys(input.query).every((name) => !/^(x-amz-|signature$|awsaccesskeyid$)/i.test(name))
  );
}

test('whatever @smithy/signature-v4 signs is accepted with its body', async () => {
  await fc.assert(
    fc.asyncProperty(requests.filter(signable), async (input) => {
      const request = await signWithSmithy(input);
      const { accessKey, body } = authenticateExample(request);
      assert.equal(accessKey, EXAMPLE.accessKey);
      assert.equal((await readAll(body)).toString(), input.body);
    }),
    { numRuns: 300 },
  );
});

/** One changed character, elsewhere than at an end that trimming could hide. */
function changed(text: string): string {
  const middle = Math.floor(text.length / 2);
  const other = text[middle] === 'x' ? 'y' : 'x';
  return `${text.slice(0, middle)}${other}${text.slice(middle + 1)}`;
}

test('one change to method, path, query, a signed header, date or signature is refused', async () => {
  await fc.assert(
    fc.asyncProperty(requests.filter(signable), async (input) => {
      const request = await signWithSmithy(input);
      const mutants: RawRequest[] = [
        ...METHODS.filter((method) => method !== input.method).map((method) => ({
          ...request,
          method,
        })),
        { ...request, rawPath: `${request.rawPath}x` },
        { ...request, rawPath: `${request.rawPath}/` },
        { ...request, rawPath: changed(request.rawPath) },
        { ...request, rawPath: request.rawPath.replace('/bucket', '/bucket/') },
        { ...request, rawQuery: `${request.rawQuery}&zz` },
        { ...request, rawQuery: `${request.rawQuery}&versionId=1` },
        withHeaders(request, { 'x-amz-meta-other': 'value' }),
      ];
      if (request.rawQuery !== '') {
        mutants.push({ ...request, rawQuery: request.rawQuery.split('&').slice(1).join('&') });
        mutants.push({ ...request, rawQuery: `${request.rawQuery}x` });
      }
      for (const [name, value = ''] of Object.entries(request.headers)) {
        const other = value === '' ? 'x' : changed(value);
        // A blank more or less between words is the same value to a signer.
        if (other.replaceAll(/\s/g, '') === value.replaceAll(/\s/g, '')) continue;
        mutants.push(withHeaders(request, { [name]: other }));
      }
      for (const mutant of mutants) {
        assert.notEqual(
          codeOf(() => authenticateExample(mutant)),
          'none',
        );
      }
      const otherBody = authenticateExample({
        ...request,
        body: bytesOf(Buffer.from(`${input.body}x`)),
      });
      assert.notEqual(await bodyCodeOf(otherBody.body), 'none');
    }),
    { numRuns: 100 },
  );
});

interface SdkRequest {
  method: string;
  path: string;
  query: Query;
  headers: Record<string, string>;
  body: unknown;
}

/** The SDK's S3 client, cut off before the network: what it would have sent. */
async function sentBy(
  protocol: 'http' | 'https',
  send: (client: S3Client) => Promise<unknown>,
): Promise<RawRequest> {
  const client = new S3Client({
    endpoint: `${protocol}://localhost:9000`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
  });
  let sent: SdkRequest | undefined;
  client.middlewareStack.add(
    () => async (args) => {
      sent = args.request as SdkRequest;
      return { response: {}, output: { $metadata: {} } };
    },
    { step: 'deserialize', priority: 'high', name: 'capture' },
  );
  await send(client);
  assert.ok(sent);
  const headers = Object.fromEntries(
    Object.entries(sent.headers).map(([name, value]) => [name.toLowerCase(), value]),
  );
  return rawRequest({
    method: sent.method,
    rawPath: sent.path,
    rawQuery: queryText(sent.query),
    headers,
    secure: protocol === 'https',
    body: sentBody(sent.body),
  });
}

function sentBody(body: unknown): AsyncIterable<Uint8Array> {
  if (body === undefined) return bytesOf();
  return typeof body === 'string' || body instanceof Uint8Array
    ? bytesOf(Buffer.from(body))
    : Readable.from(body as Readable);
}

const TROUBLESOME = 'dir with blank/a+b~(c)!/ключ//..%2F';
const BODY = 'Welcome to Amazon S3.';

const SENDERS: [string, (client: S3Client) => Promise<unknown>][] = [
  [
    'PutObject',
    (c) =>
      c.send(
        new PutObjectCommand({
          Bucket: 'bucket',
          Key: TROUBLESOME,
          Body: BODY,
          Metadata: { a: 'b  c' },
        }),
      ),
  ],
  [
    'PutObject from a stream',
    (c) =>
      c.send(
        new PutObjectCommand({
          Bucket: 'bucket',
          Key: 'k',
          Body: Readable.from([Buffer.from(BODY)]),
          ContentLength: BODY.length,
          ChecksumAlgorithm: 'CRC32',
        }),
      ),
  ],
  [
    'UploadPart',
    (c) =>
      c.send(
        new UploadPartCommand({
          Bucket: 'bucket',
          Key: 'k',
          PartNumber: 1,
          UploadId: 'a/b+c=',
          Body: BODY,
        }),
      ),
  ],
  [
    'GetObject',
    (c) => c.send(new GetObjectCommand({ Bucket: 'bucket', Key: TROUBLESOME, Range: 'bytes=0-9' })),
  ],
  [
    'ListObjectsV2',
    (c) =>
      c.send(new ListObjectsV2Command({ Bucket: 'bucket', Prefix: 'a b+c/ü', Delimiter: '/' })),
  ],
  [
    'DeleteObject',
    (c) => c.send(new DeleteObjectCommand({ Bucket: 'bucket', Key: TROUBLESOME, VersionId: 'v1' })),
  ],
];

for (const protocol of ['http', 'https'] as const) {
  for (const [name, send] of SENDERS) {
    test(`${name} as the SDK sends it over ${protocol} is accepted and decoded`, async () => {
      const request = await sentBy(protocol, send);
      const now = parseBasicTime(request.headers['x-amz-date'] ?? '') ?? 0;
      const { accessKey, body, trailer } = authenticateExample(request, { now });
      assert.equal(accessKey, EXAMPLE.accessKey);
      const content = (await readAll(body)).toString();
      if (request.method === 'PUT') assert.equal(content, BODY);
      const streamed = name.includes('stream');
      assert.equal(trailer?.value().length, streamed ? 8 : undefined);
    });
  }
}

test('a URL presigned by the SDK is accepted, and only for what it was made', async () => {
  const client = new S3Client({
    endpoint: 'http://localhost:9000',
    region: 'us-east-1',
    forcePathStyle: true,
    credentials,
  });
  const commands = [
    new GetObjectCommand({
      Bucket: 'bucket',
      Key: TROUBLESOME,
      ResponseContentDisposition: 'attachment; filename="a b.txt"',
    }),
    new PutObjectCommand({ Bucket: 'bucket', Key: TROUBLESOME, Metadata: { a: 'b' } }),
  ];
  for (const command of commands) {
    const url = await getSignedUrl(client, command as GetObjectCommand, {
      expiresIn: 60,
      signingDate: new Date(EXAMPLE_TIME),
    });
    const method = command instanceof PutObjectCommand ? 'PUT' : 'GET';
    const request = rawRequest({
      method,
      target: url.replace('http://localhost:9000', ''),
      headers: { host: 'localhost:9000' },
    });
    assert.equal(authenticateExample(request).accessKey, EXAMPLE.accessKey);
    const mutants = [
      { ...request, method: method === 'PUT' ? 'GET' : 'PUT' },
      { ...request, method: 'DELETE' },
      { ...request, rawPath: `${request.rawPath}x` },
      { ...request, rawQuery: request.rawQuery.replace('X-Amz-Expires=60', 'X-Amz-Expires=61') },
      { ...request, rawQuery: `${request.rawQuery}&versionId=v` },
      { ...request, rawQuery: request.rawQuery.replace(/&?x-id=[A-Za-z]*/, '') },
      withHeaders(request, { host: 'localhost:9001' }),
    ];
    for (const mutant of mutants) {
      assert.equal(
        codeOf(() => authenticateExample(mutant)),
        'SignatureDoesNotMatch',
      );
    }
  }
});
