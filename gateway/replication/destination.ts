/**
 * A bucket at an S3 endpoint, and what is done there. The SDK is loaded when it is first needed: most
 * gateways have no replication.
 */
import { Readable } from 'node:stream';
import type { HeadObjectCommandOutput, PutObjectCommandInput, S3 } from '@aws-sdk/client-s3';
import type { Effects } from '../../base/clock.ts';
import type { ObjectRecord, PartRef } from '../../meta/protocol.ts';
import { Circuit } from '../events/circuit.ts';
import { encodeHeaderText } from '../s3/metadata.ts';
import { encodeTaggingHeader } from '../s3/tags.ts';

export interface ReplicaTarget {
  name: string;
  endpoint: string;
  region: string;
  accessKey: string;
  secretKey: string;
  /** As rules name it in `Account`; absent: whatever they name. */
  account?: string | undefined;
  /** Destinations that it is for; absent: all of them. */
  buckets?: readonly string[] | undefined;
  /** Beside the root account, those whose buckets may use it: numbers, canonical ids, `*`. */
  accounts?: readonly string[] | undefined;
  /** Buckets as host names instead of paths. */
  virtualHost?: boolean | undefined;
  /** Tell the other side that it gets replicas, so that it does not send them back. */
  markReplicas: boolean;
  /** Bound on the answer to one request, from its last byte on. */
  timeoutMs: number;
}

/** Why something could not be done there. */
export class ReplicaError extends Error {
  /** Nothing will change by itself: the request was understood and refused. */
  readonly refused: boolean;
  constructor(message: string, refused: boolean, cause: unknown) {
    super(message, { cause });
    this.name = 'ReplicaError';
    this.refused = refused;
  }
}

export class Destination {
  readonly target: ReplicaTarget;
  readonly circuit: Circuit;
  #client: Promise<S3> | undefined;
  #closed = false;

  constructor(target: ReplicaTarget, effects: Effects) {
    this.target = target;
    this.circuit = new Circuit(effects);
  }

  /** Cuts off what is under way; nothing is sent any more. */
  async close(): Promise<void> {
    this.#closed = true;
    (await this.#client)?.destroy();
    this.#client = undefined;
  }

  /** What is wrong with the bucket as a destination; undefined: nothing. */
  async problemOf(bucket: string): Promise<string | undefined> {
    try {
      const answer = await this.#send((s3) => s3.getBucketVersioning({ Bucket: bucket }));
      if (answer.Status === 'Enabled') return undefined;
      return 'Destination bucket must have versioning enabled.';
    } catch (error) {
      if (!(error instanceof ReplicaError)) throw error;
      if (nameOf(error.cause) === 'NoSuchBucket') return 'Destination bucket must exist.';
      return `The destination cannot be used: ${error.message}`;
    }
  }

  async putWhole(
    bucket: string,
    key: string,
    { object, storageClass }: ReplicaObject,
    body: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { size } = object;
    const input: PutObjectCommandInput = {
      Bucket: bucket,
      Key: key,
      ...headersOf(object, storageClass),
      ContentLength: size,
    };
    const md5 = md5Of(object.etag);
    if (md5 !== undefined && object.encryption === undefined) input.ContentMD5 = md5;
    await this.#sendBody(size, body, (s3, Body, how) => s3.putObject({ ...input, Body }, how));
  }

  /** Part by part as the object was made, so that it has the same ETag there. */
  async putParts(
    bucket: string,
    key: string,
    { object, storageClass }: ReplicaObject,
    parts: AsyncIterable<{ part: PartRef; body: AsyncIterable<Uint8Array> }>,
  ): Promise<void> {
    const place = { Bucket: bucket, Key: key };
    const created = await this.#send((s3) =>
      s3.createMultipartUpload({ ...place, ...headersOf(object, storageClass) }),
    );
    const upload = { ...place, UploadId: created.UploadId };
    try {
      const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
      for await (const { part, body } of parts) {
        const PartNumber = Parts.length + 1;
        const md5 = object.encryption === undefined ? md5Of(part.etag) : undefined;
        const input = {
          ...upload,
          PartNumber,
          ContentLength: part.size,
          ...(md5 === undefined ? {} : { ContentMD5: md5 }),
        };
        const { ETag } = await this.#sendBody(part.size, body, (s3, Body, how) =>
          s3.uploadPart({ ...input, Body }, how),
        );
        Parts.push({ PartNumber, ETag });
      }
      await this.#send((s3) =>
        s3.completeMultipartUpload({ ...upload, MultipartUpload: { Parts } }),
      );
    } catch (error) {
      // What is left of it, if this fails too, ends by the other side's own rules.
      await this.#send((s3) => s3.abortMultipartUpload(upload)).catch(() => {});
      throw error;
    }
  }

  /**
   * Gives the current version there the tags and the lock, if it is the same object. False: it is
   * another one.
   */
  async putDetails(bucket: string, key: string, object: ObjectRecord): Promise<boolean> {
    const place = { Bucket: bucket, Key: key };
    let head: HeadObjectCommandOutput;
    try {
      head = await this.#send((s3) => s3.headObject(place));
    } catch (error) {
      if (error instanceof ReplicaError && nameOf(error.cause) === 'NotFound') return false;
      throw error;
    }
    const same = head.ETag === `"${object.etag}"` && head.ContentLength === object.size;
    if (!same) return false;
    const TagSet = (object.tags ?? []).map(({ key: Key, value: Value }) => ({ Key, Value }));
    await this.#send((s3) =>
      TagSet.length === 0
        ? s3.deleteObjectTagging(place)
        : s3.putObjectTagging({ ...place, Tagging: { TagSet } }),
    );
    await this.#putLock(place, object, head);
    return true;
  }

  async #putLock(
    place: { Bucket: string; Key: string },
    { lock }: ObjectRecord,
    head: HeadObjectCommandOutput,
  ): Promise<void> {
    const { mode: Mode, untilMs } = lock ?? {};
    const kept =
      head.ObjectLockMode === Mode && head.ObjectLockRetainUntilDate?.getTime() === untilMs;
    if (!kept && Mode !== undefined && untilMs !== undefined) {
      const Retention = { Mode, RetainUntilDate: new Date(untilMs) };
      const BypassGovernanceRetention = true;
      await this.#send((s3) =>
        s3.putObjectRetention({ ...place, Retention, BypassGovernanceRetention }),
      );
    }
    const held = lock?.legalHold === true;
    if (held === (head.ObjectLockLegalHoldStatus === 'ON')) return;
    const LegalHold = { Status: held ? ('ON' as const) : ('OFF' as const) };
    await this.#send((s3) => s3.putObjectLegalHold({ ...place, LegalHold }));
  }

  async putMarker(bucket: string, key: string): Promise<void> {
    await this.#send((s3) => s3.deleteObject({ Bucket: bucket, Key: key }));
  }

  /**
   * A request with content. Throws what reading the content threw: the SDK pipes it and listens to
   * nothing but its end, so the error would come up nowhere, and end the process.
   */
  async #sendBody<T>(
    size: number,
    body: AsyncIterable<Uint8Array>,
    call: (s3: S3, body: Readable | '', how: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const abort = new AbortController();
    const how = { abortSignal: abort.signal };
    if (size === 0) return await this.#send((s3) => call(s3, '', how));
    const content = Readable.from(body, { objectMode: false });
    let broken: unknown;
    content.on('error', (error) => {
      broken = error;
      abort.abort();
    });
    try {
      return await this.#send((s3) => call(s3, content, how));
    } catch (error) {
      throw broken ?? error;
    } finally {
      content.destroy();
    }
  }

  async #send<T>(call: (s3: S3) => Promise<T>): Promise<T> {
    if (this.#closed) throw new ReplicaError(`${this.target.name} is closed`, false, undefined);
    this.#client ??= createClient(this.target);
    try {
      return await call(await this.#client);
    } catch (error) {
      throw replicaError(error, this.target.name);
    }
  }
}

const nothing = (): void => {};
const SILENT = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };

async function createClient(target: ReplicaTarget): Promise<S3> {
  const { S3: Client } = await import('@aws-sdk/client-s3');
  const { endpoint, region, accessKey, secretKey, timeoutMs } = target;
  const client = new Client({
    endpoint,
    region,
    forcePathStyle: target.virtualHost !== true,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    // A body is read once; what failed is queued again.
    maxAttempts: 1,
    // Content-MD5 is what every endpoint knows.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // What goes wrong is told by what is thrown.
    logger: SILENT,
    requestHandler: { connectionTimeout: timeoutMs, socketTimeout: timeoutMs },
  });
  if (target.markReplicas) {
    client.middlewareStack.add(
      (next) => (args) => {
        const { headers, method } = args.request as {
          headers: Record<string, string>;
          method: string;
        };
        if (method !== 'GET' && method !== 'HEAD') headers['x-amz-replication-status'] = 'REPLICA';
        return next(args);
      },
      { step: 'build', name: 'markReplicas' },
    );
  }
  return client;
}

export interface ReplicaObject {
  object: ObjectRecord;
  /** Of the rule; absent: the object's own. */
  storageClass: string | undefined;
}

type ReplicaHeaders = Pick<
  PutObjectCommandInput,
  | 'ContentType'
  | 'ContentEncoding'
  | 'ContentLanguage'
  | 'ContentDisposition'
  | 'CacheControl'
  | 'Expires'
  | 'WebsiteRedirectLocation'
  | 'StorageClass'
  | 'Metadata'
  | 'Tagging'
  | 'ObjectLockMode'
  | 'ObjectLockRetainUntilDate'
  | 'ObjectLockLegalHoldStatus'
>;

/** Metadata, tags and lock. The ACL stays behind: it names accounts of this side. */
function headersOf(object: ObjectRecord, storageClass: string | undefined): ReplicaHeaders {
  const { system, user, tags, lock } = object;
  const headers: ReplicaHeaders = {};
  if (system.contentType !== undefined) headers.ContentType = system.contentType;
  if (system.contentEncoding !== undefined) headers.ContentEncoding = system.contentEncoding;
  if (system.contentLanguage !== undefined) headers.ContentLanguage = system.contentLanguage;
  if (system.contentDisposition !== undefined) {
    headers.ContentDisposition = encodeHeaderText(system.contentDisposition);
  }
  if (system.cacheControl !== undefined) headers.CacheControl = system.cacheControl;
  const expires = new Date(system.expires ?? '');
  if (!Number.isNaN(expires.getTime())) headers.Expires = expires;
  if (system.websiteRedirectLocation !== undefined) {
    headers.WebsiteRedirectLocation = encodeHeaderText(system.websiteRedirectLocation);
  }
  const chosen = storageClass ?? system.storageClass;
  if (chosen !== undefined) headers.StorageClass = chosen as ReplicaHeaders['StorageClass'];
  const pairs = Object.entries(user).map(([name, value]) => [name, encodeHeaderText(value)]);
  if (pairs.length > 0) headers.Metadata = Object.fromEntries(pairs) as Record<string, string>;
  if (tags !== undefined && tags.length > 0) headers.Tagging = encodeTaggingHeader(tags);
  if (lock?.mode !== undefined && lock.untilMs !== undefined) {
    headers.ObjectLockMode = lock.mode;
    headers.ObjectLockRetainUntilDate = new Date(lock.untilMs);
  }
  if (lock?.legalHold === true) headers.ObjectLockLegalHoldStatus = 'ON';
  return headers;
}

/** Base64 of an ETag that is the MD5 of the content. */
function md5Of(etag: string): string | undefined {
  return /^[0-9a-f]{32}$/.test(etag) ? Buffer.from(etag, 'hex').toString('base64') : undefined;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** Worth another try: nobody answered, or the answer says so. */
function replicaError(error: unknown, target: string): ReplicaError {
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  const name = nameOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const refused =
    status !== undefined &&
    status >= 300 &&
    status < 500 &&
    status !== 408 &&
    status !== 429 &&
    name !== 'RequestTimeout' &&
    name !== 'OperationAborted';
  const said = status === undefined ? 'cannot be reached' : `answered ${status} ${name}`;
  return new ReplicaError(`${target} ${said}: ${message}`, refused, error);
}
