/** One server in the test's own process, and what most tests do with it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before } from 'node:test';
import { type GetObjectCommandOutput, S3, S3ServiceException } from '@aws-sdk/client-s3';
import { systemEffects } from '../../base/clock.ts';
import { createLog } from '../../base/log.ts';
import { startEmbedded } from '../../cli/embedded.ts';
import { startAshlar } from '../../cli/testing.ts';
import type { GatewayConfig } from '../../gateway/config.ts';
import type { Meta } from '../../meta/protocol.ts';
import type { StorageNode } from '../../storage-node/protocol.ts';
import type { Keys } from './sign.ts';

/** Root credentials of the servers in the tests' own process. */
export const SERVER_KEYS: Keys = {
  accessKey: 'ASHLINPROCESSTESTKEY',
  secretKey: 'in-process-secret-in-process-secret-1234',
};

export interface TestServer {
  readonly endpoint: string;
  readonly s3: S3;
  /** Creates a bucket of its own for a test; its name. */
  bucket(): Promise<string>;
}

export interface ServerOptions {
  lifecycleDayMs?: number;
  region?: string;
  domains?: readonly string[];
  signatureV2?: boolean;
  /** On the S3 port; an inspected server has a port for websites only, too. */
  websiteDomains?: readonly string[];
}

export interface InspectedOptions extends ServerOptions {
  /** What else differs from the settings of an ordinary test server. */
  config?: Partial<GatewayConfig>;
}

interface Started {
  endpoint: string;
  stop(): Promise<void>;
}

/** Starts one server for the test file that calls it, and stops it after the last test. */
export function useServer(options: ServerOptions = {}): TestServer {
  return served(options.region, () =>
    startAshlar({
      credentials: {
        accessKeyId: SERVER_KEYS.accessKey,
        secretAccessKey: SERVER_KEYS.secretKey,
      },
      ...options,
    }),
  );
}

export interface InspectedServer extends TestServer {
  /** Everything that the server has logged, at the level `debug`. */
  log(): string;
  /** URL of the port for websites only. */
  readonly website: string;
  readonly meta: Meta;
  readonly nodes: ReadonlyMap<string, StorageNode>;
}

/** The same server with its insides in reach. */
export function useInspectedServer(options: InspectedOptions = {}): InspectedServer {
  const lines: string[] = [];
  let meta: Meta | undefined;
  let website = '';
  let nodes: ReadonlyMap<string, StorageNode> = new Map();
  const { region = 'us-east-1', domains = [], signatureV2, websiteDomains = [] } = options;
  const server = served(options.region, async () => {
    const running = await startEmbedded(
      {
        name: 'inspected',
        version: 'test',
        s3: { host: '127.0.0.1', port: 0, sharePort: false, region, domains, signatureV2 },
        websites: { domains: websiteDomains, listen: { host: '127.0.0.1', port: 0 } },
        admin: undefined,
        root: SERVER_KEYS,
        buckets: [],
        objects: {},
        drainMs: 1000,
        ...options.config,
      },
      {
        folder: undefined,
        effects: systemEffects,
        log: createLog({
          level: 'debug',
          destination: {
            write(line: string): void {
              lines.push(line);
            },
          },
        }),
      },
    );
    meta = running.meta;
    website = running.website;
    nodes = running.nodes;
    return { endpoint: running.s3, stop: () => running.stop() };
  });
  return {
    get endpoint() {
      return server.endpoint;
    },
    get s3() {
      return server.s3;
    },
    bucket: () => server.bucket(),
    log: () => lines.join(''),
    get website() {
      return website;
    },
    get meta() {
      assert.ok(meta, 'the server has not been started');
      return meta;
    },
    get nodes() {
      return nodes;
    },
  };
}

function served(region: string | undefined, start: () => Promise<Started>): TestServer {
  let running: { endpoint: string; s3: S3; stop(): Promise<void> } | undefined;
  let buckets = 0;
  before(async () => {
    const { endpoint, stop } = await start();
    running = { endpoint, s3: sdk(endpoint, region), stop };
  });
  after(async () => {
    running?.s3.destroy();
    await running?.stop();
  });
  const current = (): NonNullable<typeof running> => {
    assert.ok(running, 'the server has not been started');
    return running;
  };
  return {
    get endpoint() {
      return current().endpoint;
    },
    get s3() {
      return current().s3;
    },
    async bucket() {
      const Bucket = `bucket-${++buckets}`;
      const LocationConstraint = region as 'eu-west-1' | undefined;
      const CreateBucketConfiguration = LocationConstraint && { LocationConstraint };
      await current().s3.createBucket({ Bucket, CreateBucketConfiguration });
      return Bucket;
    },
  };
}

/** The SDK with its default settings; a retry would hide a failure, so there is none. */
export function sdk(endpoint: string, region = 'us-east-1'): S3 {
  return new S3({
    endpoint,
    region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: {
      accessKeyId: SERVER_KEYS.accessKey,
      secretAccessKey: SERVER_KEYS.secretKey,
    },
  });
}

/** The request is refused with this S3 error code (for HEAD, which has no body: this status). */
export async function refusedWith(
  code: string | number,
  request: Promise<unknown>,
): Promise<S3ServiceException> {
  let error: unknown;
  let answer: unknown;
  try {
    answer = await request;
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error !== undefined, `expected ${code}, got an answer: ${JSON.stringify(answer)}`);
  if (!(error instanceof S3ServiceException)) throw error;
  const found = typeof code === 'number' ? error.$metadata.httpStatusCode : error.name;
  assert.equal(found, code, `${error.name}: ${error.message}`);
  return error;
}

/** The S3 error code of a request's failure, or `ok`. Other failures are thrown. */
export async function codeOf(request: Promise<unknown>): Promise<string> {
  try {
    await request;
    return 'ok';
  } catch (error) {
    if (error instanceof S3ServiceException) return error.name;
    throw error;
  }
}

/** The whole body of a GetObject answer. */
export async function bytesOf(answer: GetObjectCommandOutput): Promise<Buffer> {
  assert.ok(answer.Body, 'the answer has no body');
  return Buffer.from(await answer.Body.transformToByteArray());
}

/** Fails with two hashes instead of a megabyte of text. */
export function sameBytes(actual: Uint8Array, expected: Uint8Array, what = 'content'): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  assert.equal(digest('sha256', actual), digest('sha256', expected), what);
}

export function digest(
  algorithm: 'md5' | 'sha1' | 'sha256',
  bytes: Uint8Array | string,
  encoding: 'hex' | 'base64' = 'hex',
): string {
  return createHash(algorithm).update(bytes).digest(encoding);
}

/** `"md5"`, as S3 writes the ETag of an object that was put in one piece. */
export const etagOf = (bytes: Uint8Array | string): string => `"${digest('md5', bytes)}"`;
