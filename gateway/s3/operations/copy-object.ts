import { createDigest } from '../../../base/digest.ts';
import type { ChecksumAlgorithm, ObjectChecksum } from '../../../base/object-checksum.ts';
import type {
  Answer,
  Bucket,
  CopyObjectCommand,
  ObjectLock,
  FoundObject,
  ObjectEncryption,
  ObjectExtras,
  ObjectRecord,
  SystemMetadata,
  Tag,
  UserMetadata,
  WriteCondition,
  Written,
} from '../../../meta/protocol.ts';
import { COPY_SOURCE_PREFIX, evaluateReadConditions, parseWriteCondition } from '../conditions.ts';
import { type CopySource, parseCopySource, unwrapSource } from '../copy-source.ts';
import type { CustomerKey, KeyTarget } from '../../keys/protocol.ts';
import { type AclRequest, parseAclHeaders } from '../access/acl-request.ts';
import { type WrittenAccess, writtenAccess } from '../access/written-access.ts';
import { BUCKET_ENCRYPTION } from '../encryption/bucket-default.ts';
import { etagOf } from '../encryption/etag.ts';
import {
  parseSourceKey,
  parseWriteEncryption,
  type RequestedEncryption,
} from '../encryption/headers.ts';
import { writtenEncryptionHeaders } from '../encryption/replies.ts';
import { storeBody } from '../encryption/store-body.ts';
import { withTarget } from '../encryption/target-watch.ts';
import { S3Error } from '../errors.ts';
import { checksumAlgorithm, ingest } from '../ingest.ts';
import { expirationOfStored } from '../lifecycle.ts';
import { parseStorageClass, parseSystemMetadata, parseUserMetadata } from '../metadata.ts';
import { checkLockOfNew, parseLockHeaders } from '../object-lock.ts';
import { type Context, defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import { parseTaggingHeader, replacesTags } from '../tags.ts';
import { shownVersionId, writtenVersionId } from '../version-id.ts';
import { DEFAULT_ALGORITHM, PUT_BYTES_MAX } from './put-object.ts';
import { type CopyObjectResult, copyObjectResult } from '../xml/copy-object-result.ts';
import { xmlReply } from '../xml/reply.ts';

/** How often a source that is replaced while it is copied is read again. */
const ATTEMPTS_MAX = 5;

interface Input {
  bucket: string;
  key: string;
  source: CopySource;
  headers: HeaderMap;
  /** With the directive REPLACE; undefined for COPY. */
  replaced: { system: SystemMetadata; user: UserMetadata } | undefined;
  /** With the directive REPLACE; undefined for COPY. */
  tags: Tag[] | undefined;
  /** Not copied with the rest: AWS takes both from the request, whatever the directive. */
  storageClass: string | undefined;
  redirect: string | undefined;
  acl: AclRequest | undefined;
  /** Something that a copy onto itself would change. */
  changes: boolean;
  algorithm: ChecksumAlgorithm | undefined;
  lock: ObjectLock | undefined;
  condition: WriteCondition | undefined;
  encryption: RequestedEncryption | undefined;
  sourceKey: CustomerKey | undefined;
}

interface Output {
  result: CopyObjectResult;
  versionId: string | undefined;
  sourceVersionId: string | undefined;
  encryption: ObjectEncryption | undefined;
  /** Of the copy: its identity. */
  version: string;
}

/**
 * CopyObject: the new object refers to the blobs of the old one, in one transaction, at any size.
 * It therefore keeps the source's ETag (also `md5-of-md5s-N`, where AWS makes a fresh MD5) and, if
 * no other algorithm is asked for, its checksum. Between modes of encryption the bytes are written
 * anew, up to 5 GiB; within SSE-S3 and within SSE-KMS only the data key is wrapped anew.
 */
export const copyObject = defineOperation<Input, Output & { expiration: string | undefined }>({
  name: 'CopyObject',
  permission: 's3:PutObject',
  body: 'none',
  query: [],
  parse({ bucket, key, headers }) {
    const replaces = parseDirective(headers['x-amz-metadata-directive']);
    const system = parseSystemMetadata(headers);
    const algorithm = parseAlgorithm(headers);
    const encryption = parseWriteEncryption(headers);
    refuseRange(headers);
    return {
      bucket,
      key,
      source: parseCopySource(headers['x-amz-copy-source'] ?? ''),
      headers,
      replaced: replaces ? { system, user: parseUserMetadata(headers) } : undefined,
      tags: replacesTags(headers['x-amz-tagging-directive'])
        ? (parseTaggingHeader(headers['x-amz-tagging']) ?? [])
        : undefined,
      storageClass: parseStorageClass(headers['x-amz-storage-class']),
      redirect: system.websiteRedirectLocation,
      changes:
        replaces ||
        algorithm !== undefined ||
        headers['x-amz-storage-class'] !== undefined ||
        encryption !== undefined ||
        system.websiteRedirectLocation !== undefined,
      encryption,
      sourceKey: parseSourceKey(headers),
      algorithm,
      lock: parseLockHeaders(headers),
      condition: parseWriteCondition(headers),
      acl: parseAclHeaders(headers),
    };
  },
  async execute(input, context) {
    checkLockOfNew(input.lock, context.settings, context.clock.now());
    for (let attempt = 1; ; attempt++) {
      const answer = await withTarget(input.encryption, context, (target) =>
        copyOnce(input, target, context),
      );
      const again = !answer.ok && answer.refusal === 'SourceChanged' && attempt < ATTEMPTS_MAX;
      if (again) continue;
      const output = unwrap(answer, input);
      logRead(input.source, context);
      return { ...output, expiration: await expirationOfStored(input, output, context) };
    }
  },
  serialize: ({ result, versionId, sourceVersionId, encryption, expiration }) =>
    xmlReply(copyObjectResult(result), {
      'x-amz-version-id': versionId,
      'x-amz-copy-source-version-id': sourceVersionId,
      'x-amz-expiration': expiration,
      ...writtenEncryptionHeaders(encryption),
    }),
});

/** The log of the source's bucket has a line for what was read of it. */
function logRead({ bucket, key, versionId }: Input['source'], context: Context): void {
  const name = 'REST.COPY.OBJECT_GET';
  context.logAction({ name, bucket, key, versionId, status: 200, code: undefined });
}

/** A copy onto itself must change something, or be in a bucket with a default encryption to take on. */
function refuseNothing(
  { changes, source, bucket, key }: Input,
  { settings }: Pick<Context, 'settings'>,
): void {
  if (
    changes ||
    settings?.text(BUCKET_ENCRYPTION) !== undefined ||
    source.bucket !== bucket ||
    source.key !== key
  )
    return;
  throw new S3Error('InvalidRequest', {
    message:
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
  });
}

function parseDirective(value: string | undefined): boolean {
  if (value === undefined || value === 'COPY') return false;
  if (value === 'REPLACE') return true;
  throw invalidArgument('x-amz-metadata-directive', value, 'Unknown metadata directive.');
}

function parseAlgorithm(headers: HeaderMap): ChecksumAlgorithm | undefined {
  const value = headers['x-amz-checksum-algorithm'];
  if (value === undefined) return undefined;
  const algorithm = checksumAlgorithm(value);
  if (algorithm !== undefined) return algorithm;
  throw new S3Error('InvalidRequest', {
    message: 'Checksum algorithm provided is unsupported.',
  });
}

/** A range belongs to UploadPartCopy; here it would be dropped and the whole object copied. */
function refuseRange(headers: HeaderMap): void {
  const range = headers['x-amz-copy-source-range'];
  if (range === undefined) return;
  throw invalidArgument(
    'x-amz-copy-source-range',
    range,
    'CopyObject copies whole objects; a range is for UploadPartCopy.',
  );
}

async function copyOnce(
  input: Input,
  target: KeyTarget | undefined,
  context: Context,
): Promise<Answer<Output>> {
  const { source } = input;
  const written = await writtenAccess(input.acl, context);
  const { bucket, key, versionId } = source;
  const found = unwrapSource(await context.meta.getObject({ bucket, key, versionId }), source);
  evaluateReadConditions(input.headers, found.object, COPY_SOURCE_PREFIX);
  const again = source.versionId !== undefined && found.bucket.versioning !== undefined;
  if (!again) refuseNothing(input, context);
  const shares = await sharedEncryption(input, found.object, target, context);
  if (shares === undefined) return await copyBytes(input, written, context);
  const { from, object, checksum } = await readSource(input, found, context);
  // The data key in `shares` opens the version that was found, and no other.
  if (object.version !== found.object.version) return { ok: false, refusal: 'SourceChanged' };
  const { encryption } = shares;
  const command = {
    writer: context.objects.writer(),
    source: { bucket: source.bucket, key: source.key, version: object.version },
    bucket: input.bucket,
    key: input.key,
    metadata: metadataOf(input, object),
    ...(input.tags && { tags: input.tags }),
    checksum,
    condition: input.condition,
  };
  const answer = await context.access.inState((expect) => {
    const { owner, acl } = written();
    const extras = extrasOf(input, acl, encryption);
    return context.meta.copyObject({ ...command, owner, ...extras, expect });
  });
  if (!answer.ok) return answer;
  return copied(answer.value, answer.value.checksum, encryption, shownVersionId(from, object));
}

/** What the copy has beside content and metadata; a command without it is a smaller one. */
function extrasOf(
  { lock }: Input,
  acl: WrittenAccess['acl'],
  encryption: ObjectEncryption | undefined,
): { extras?: ObjectExtras } {
  if (lock === undefined && acl === undefined && encryption === undefined) return {};
  return {
    extras: { ...(lock && { lock }), ...(acl && { acl }), ...(encryption && { encryption }) },
  };
}

function copied(
  written: Written,
  checksum: ObjectChecksum | undefined,
  encryption: ObjectEncryption | undefined,
  sourceVersionId: string | undefined,
): Answer<Output> {
  const { etag, modifiedMs } = written;
  const versionId = writtenVersionId(written);
  const result = { etag, modifiedMs, checksum };
  const { version } = written;
  return { ok: true, value: { result, versionId, sourceVersionId, encryption, version } };
}

/**
 * How the copy is encrypted when it shares the blocks of its source; undefined when it cannot, since
 * the one is encrypted and the other is not, or its ETag would be of another kind. A key of the client's
 * is never asked to open what another one wrapped.
 */
async function sharedEncryption(
  { sourceKey }: Input,
  { encryption: from }: ObjectRecord,
  target: KeyTarget | undefined,
  { encryption }: Context,
): Promise<{ encryption: ObjectEncryption | undefined } | undefined> {
  await encryption.check(from, sourceKey);
  if (from?.algorithm !== target?.algorithm) return undefined;
  if (from === undefined || target === undefined) return { encryption: undefined };
  if (target.algorithm === 'customer') return undefined;
  if (target.algorithm === 'AES256' && !encryption.keys.isOutdated(from)) {
    return { encryption: from };
  }
  const dataKey = await encryption.keys.unwrap(from, undefined);
  return { encryption: await encryption.keys.wrap(dataKey, target) };
}

/** Reads the source and writes the copy as a new object would be written, up to 5 GiB. */
async function copyBytes(
  input: Input,
  written: () => WrittenAccess,
  context: Context,
): Promise<Answer<Output>> {
  const { source } = input;
  const { encryption, objects, signal, meta } = context;
  const opened = unwrapSource(await objects.open(source, { signal }), source);
  try {
    const { object } = opened;
    await encryption.unlock(opened, input.sourceKey);
    evaluateReadConditions(input.headers, object, COPY_SOURCE_PREFIX);
    refuseSize(object.size);
    const kept = object.checksum?.algorithm ?? DEFAULT_ALGORITHM;
    const copy = ingest(
      { ...NOBODY, body: opened.read(), decodedLength: object.size, trailer: undefined },
      { headers: {}, contentLength: object.size },
      { maxBytes: PUT_BYTES_MAX, defaultAlgorithm: input.algorithm ?? kept },
    );
    const { system, user } = metadataOf(input, object) ?? object;
    const tags = input.tags ?? object.tags;
    const checksum = (): ObjectChecksum | undefined => {
      const { checksum: made } = copy.result();
      return made && { ...made, type: 'FULL_OBJECT' };
    };
    const { answer, sealed } = await storeBody(
      input.encryption,
      context,
      copy.body,
      ({ writer, size, data, missing }, sealed) =>
        context.access.inState((expect) =>
          meta.putObject({
            writer,
            bucket: input.bucket,
            key: input.key,
            object: {
              size,
              etag: etagOf(copy.result().md5, sealed),
              ...written(),
              data,
              checksum: checksum(),
              system,
              user,
              ...(tags && { tags }),
              ...(input.lock && { lock: input.lock }),
              ...(sealed && { encryption: sealed.encryption }),
            },
            condition: input.condition,
            missing,
            copied: true,
            expect,
          }),
        ),
      { signal, sizeHint: object.size },
    );
    if (!answer.ok) return answer;
    const sourceVersionId = shownVersionId(opened.bucket, object);
    return copied(answer.value, checksum(), sealed?.encryption, sourceVersionId);
  } finally {
    opened.close();
  }
}

/** Bytes that come from a blob were signed by no one. */
const NOBODY = { account: undefined, accessKey: undefined };

function refuseSize(size: number): void {
  if (size <= PUT_BYTES_MAX) return;
  throw new S3Error('InvalidRequest', {
    message: `The specified copy source is larger than the maximum allowable size for a copy source: ${PUT_BYTES_MAX}`,
  });
}

/** The source, judged by the conditions; its checksum by another algorithm if one is asked for. */
async function readSource(
  input: Input,
  found: FoundObject,
  { objects, encryption }: Context,
): Promise<{ from: Bucket; object: ObjectRecord; checksum: ObjectChecksum | undefined }> {
  const { source, algorithm } = input;
  const { bucket, key, versionId } = source;
  if (algorithm === undefined || found.object.checksum?.algorithm === algorithm) {
    return { from: found.bucket, object: found.object, checksum: undefined };
  }
  const opened = unwrapSource(await objects.open({ bucket, key, versionId }), source);
  try {
    await encryption.unlock(opened, input.sourceKey);
    evaluateReadConditions(input.headers, opened.object, COPY_SOURCE_PREFIX);
    const digest = createDigest(algorithm);
    for await (const chunk of opened.read()) digest.update(chunk);
    const value = digest.digest().toString('base64');
    const checksum = { algorithm, type: 'FULL_OBJECT' as const, value };
    return { from: opened.bucket, object: opened.object, checksum };
  } finally {
    opened.close();
  }
}

/** The copy's metadata; undefined when it is exactly the source's. */
function metadataOf(input: Input, object: ObjectRecord): CopyObjectCommand['metadata'] {
  if (input.replaced !== undefined) return input.replaced;
  const { storageClass, redirect } = input;
  const { system, user } = object;
  if (system.storageClass === storageClass && system.websiteRedirectLocation === redirect) {
    return undefined;
  }
  return { system: { ...system, storageClass, websiteRedirectLocation: redirect }, user };
}
