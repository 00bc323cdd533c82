/** What tests of operations need: a request as the pipeline hands it over, and a context. */
import { systemClock } from '../../../base/clock.ts';
import { Failure } from '../../../base/failure.ts';
import { makeBlobId } from '../../../base/ids.ts';
import { silentLog } from '../../../base/log.ts';
import type { Answer, Bucket, Meta, Refusal, Upload } from '../../../meta/protocol.ts';
import type { ObjectEngine } from '../../object/engine.ts';
import { testKeyring } from '../../keys/testing-keys.ts';
import { BucketSettings } from '../access/bucket-settings.ts';
import { type EncryptionOptions, RequestEncryption } from '../encryption/request-encryption.ts';
import type { AccountDirectory } from '../auth/accounts.ts';
import type { Account, Authenticated } from '../auth/identity.ts';
import type { NewBuckets } from '../access/new-buckets.ts';
import type { RequestAccess } from '../access/request-access.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import type {
  AnyOperation,
  Context,
  NotificationTargets,
  OperationRequest,
  ReplicaTargets,
} from '../operation.ts';
import { parseQuery } from '../query.ts';
import type { RawReply } from '../request.ts';

export const OWNER = 'a'.repeat(64);
export const ACCOUNT: Account = {
  id: OWNER,
  number: '123456789012',
  displayName: 'root',
  root: true,
};

/** Knows the test's account and nobody else. */
const DIRECTORY: AccountDirectory = {
  account: (by, value) => Promise.resolve(DIRECTORY.known(by, value)),
  known: (by, value) => (ACCOUNT[by] === value ? ACCOUNT : undefined),
  names: () => Promise.resolve(new Map([[OWNER, 'root']])),
};
export const BUCKET: Bucket = {
  id: 1,
  name: 'photos',
  owner: OWNER,
  region: 'us-east-1',
  createdMs: Date.UTC(2026, 10, 20, 8, 30, 0, 7),
  revision: 1,
  configs: [],
};
export const UPLOAD: Upload = {
  uploadId: 'upload-1',
  bucket: 'photos',
  key: 'big',
  createdMs: Date.UTC(2026, 10, 20, 9),
  owner: OWNER,
  system: {},
  user: {},
};

export function ok<T>(value: T): Promise<Answer<T>> {
  return Promise.resolve({ ok: true, value });
}

export function refused(refusal: Refusal): Promise<{ ok: false; refusal: Refusal }> {
  return Promise.resolve({ ok: false, refusal });
}

/** Two master keys and the KMS key `k1`. */
export const TEST_KEYS = testKeyring();

/** Something that has the given members and answers every other use with a Failure. */
function only<T extends object>(members: Partial<T>, what: string): T {
  return new Proxy(members as T, {
    get(target, name, receiver) {
      if (Reflect.has(target, name)) return Reflect.get(target, name, receiver);
      throw new Failure('internal', `the test gave the ${what} no ${String(name)}`);
    },
  });
}

/** Bytes as a few chunks, each a copy. */
export async function* chunksOf(content: string | Uint8Array): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(content);
  const size = Math.max(1, Math.ceil(bytes.length / 4));
  for (let start = 0; start < bytes.length; start += size) {
    yield Buffer.from(bytes.subarray(start, start + size));
  }
}

export interface TestRequest {
  bucket?: string;
  key?: string;
  /** Raw, as after `?`. */
  query?: string;
  headers?: Record<string, string>;
  xml?: string;
  /** Payload of stream operations. */
  content?: string | Uint8Array;
  trailer?: Authenticated['trailer'];
  /** Of the bucket's row, where it is not BUCKET. */
  bucketRow?: Partial<Bucket>;
  /** Configurations of the bucket. */
  configs?: Record<string, string>;
  meta?: Partial<Meta>;
  objects?: Partial<ObjectEngine>;
  notifications?: NotificationTargets;
  replicas?: ReplicaTargets;
  region?: string;
  encryption?: Partial<EncryptionOptions>;
  newBuckets?: NewBuckets;
  /** What is allowed beyond the operation; everything by default. */
  allows?: RequestAccess['allows'];
}

function requestOf(test: TestRequest): OperationRequest {
  return {
    method: 'GET',
    bucket: test.bucket ?? 'photos',
    key: test.key ?? '',
    query: parseQuery(test.query ?? ''),
    headers: test.headers ?? {},
    xml: test.xml ?? '',
    contentLength: test.content === undefined ? undefined : Buffer.from(test.content).length,
  };
}

function contextOf(test: TestRequest): Context {
  const meta = only<Meta>(test.meta ?? {}, 'metadata service');
  const settings = new BucketSettings({ ...BUCKET, ...test.bucketRow }, test.configs ?? {});
  return {
    requestId: '0123456789abcdef',
    account: ACCOUNT,
    payload: {
      account: ACCOUNT,
      accessKey: 'AKTEST',
      body: chunksOf(test.content ?? ''),
      decodedLength: test.content === undefined ? undefined : Buffer.from(test.content).length,
      trailer: test.trailer,
    },
    meta,
    objects: only<ObjectEngine>({ meta, ...test.objects }, 'object engine'),
    logAction: () => {},
    replicas: test.replicas ?? only<ReplicaTargets>({}, 'replicas'),
    notifications: test.notifications ?? only<NotificationTargets>({}, 'targets'),
    watchSettings: () => {},
    encryption: new RequestEncryption(
      { keys: TEST_KEYS, default: 'off', mayBareKeys: () => true, ...test.encryption },
      { secure: false, remoteAddress: '127.0.0.1' },
    ),
    settings,
    access: {
      allows: test.allows ?? (() => true),
      require: (check) => check(settings),
      inState: (call) => call(undefined),
    },
    accounts: DIRECTORY,
    newBuckets: test.newBuckets ?? 'open',
    clock: systemClock,
    log: silentLog,
    signal: new AbortController().signal,
    region: test.region ?? 'us-east-1',
  };
}

/** Runs an operation as the pipeline does: what `parse` throws becomes a rejection, too. */
export async function run(operation: AnyOperation, test: TestRequest): Promise<RawReply> {
  return operation.run(requestOf(test))(contextOf(test));
}

/** The document in a reply; throws when there is none. */
export function textOf({ body }: RawReply): string {
  if (typeof body !== 'string') throw new Failure('internal', 'the reply has no document');
  return body;
}

export async function runForText(operation: AnyOperation, test: TestRequest): Promise<string> {
  return textOf(await run(operation, test));
}

/** An engine's `store` that keeps nothing but hands `commit` what it would have stored. */
export const storing: ObjectEngine['store'] = async (body, commit) => {
  let size = 0;
  for await (const chunk of body) size += chunk.length;
  const data =
    size === 0
      ? ({ kind: 'none' } as const)
      : ({ kind: 'blob', blob: makeBlobId(7, 1), size, blockSize: 1 << 20 } as const);
  return commit({ writer: 7, size, data, missing: [] });
};

/** Whether what was thrown is the S3 error of this code, with such a message. */
export function isCode(code: ErrorCode, message?: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof S3Error &&
    error.code === code &&
    (message === undefined || message.test(error.message));
}
