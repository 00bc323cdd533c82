import { createDigest } from '../../../base/digest.ts';
import type { ChecksumAlgorithm, ObjectChecksum } from '../../../base/object-checksum.ts';
import type {
  Answer,
  Bucket,
  CopyObjectCommand,
  ObjectLock,
  ObjectRecord,
  SystemMetadata,
  Tag,
  UserMetadata,
  WriteCondition,
} from '../../../meta/protocol.ts';
import { COPY_SOURCE_PREFIX, evaluateReadConditions, parseWriteCondition } from '../conditions.ts';
import { type CopySource, parseCopySource, unwrapSource } from '../copy-source.ts';
import { S3Error } from '../errors.ts';
import { checksumAlgorithm } from '../ingest.ts';
import { parseStorageClass, parseSystemMetadata, parseUserMetadata } from '../metadata.ts';
import { checkLockOfNew, parseLockHeaders } from '../object-lock.ts';
import { type Context, defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import { parseTaggingHeader, replacesTags } from '../tags.ts';
import { shownVersionId, writtenVersionId } from '../version-id.ts';
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
  /** Something that a copy onto itself would change. */
  changes: boolean;
  algorithm: ChecksumAlgorithm | undefined;
  lock: ObjectLock | undefined;
  condition: WriteCondition | undefined;
}

interface Output {
  result: CopyObjectResult;
  versionId: string | undefined;
  sourceVersionId: string | undefined;
}

/**
 * CopyObject: the new object refers to the blobs of the old one, in one transaction, at any size.
 * It therefore keeps the source's ETag (also `md5-of-md5s-N`, where AWS makes a fresh MD5) and, if
 * no other algorithm is asked for, its checksum.
 */
export const copyObject = defineOperation<Input, Output>({
  name: 'CopyObject',
  permission: 's3:PutObject',
  body: 'none',
  query: [],
  parse({ bucket, key, headers }) {
    const replaces = parseDirective(headers['x-amz-metadata-directive']);
    const system = parseSystemMetadata(headers);
    const algorithm = parseAlgorithm(headers);
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
        system.websiteRedirectLocation !== undefined,
      algorithm,
      lock: parseLockHeaders(headers),
      condition: parseWriteCondition(headers),
    };
  },
  async execute(input, context) {
    checkLockOfNew(input.lock, context.settings, context.clock.now());
    if (input.source.versionId === undefined) refuseNothing(input);
    for (let attempt = 1; ; attempt++) {
      const answer = await copyOnce(input, context);
      const again = !answer.ok && answer.refusal === 'SourceChanged' && attempt < ATTEMPTS_MAX;
      if (!again) return unwrap(answer, input);
    }
  },
  serialize: ({ result, versionId, sourceVersionId }) =>
    xmlReply(copyObjectResult(result), {
      'x-amz-version-id': versionId,
      'x-amz-copy-source-version-id': sourceVersionId,
    }),
});

/** A copy onto itself must change something, unless it brings another version back. */
function refuseNothing({ changes, source, bucket, key }: Input): void {
  if (changes || source.bucket !== bucket || source.key !== key) return;
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

async function copyOnce(input: Input, context: Context): Promise<Answer<Output>> {
  const { source } = input;
  const { from, object, checksum } = await readSource(input, context);
  if (from.versioning === undefined) refuseNothing(input);
  const command: CopyObjectCommand = {
    writer: context.objects.writer(),
    source: { bucket: source.bucket, key: source.key, version: object.version },
    bucket: input.bucket,
    key: input.key,
    owner: context.account.id,
    metadata: metadataOf(input, object),
    ...(input.tags && { tags: input.tags }),
    ...(input.lock && { extras: { lock: input.lock } }),
    checksum,
    condition: input.condition,
  };
  const answer = await context.meta.copyObject(command);
  if (!answer.ok) return answer;
  const { etag, modifiedMs } = answer.value;
  const result = { etag, modifiedMs, checksum: answer.value.checksum };
  const versionId = writtenVersionId(answer.value);
  return { ok: true, value: { result, versionId, sourceVersionId: shownVersionId(from, object) } };
}

/** The source, judged by the conditions; its checksum by another algorithm if one is asked for. */
async function readSource(
  input: Input,
  { meta, objects }: Context,
): Promise<{ from: Bucket; object: ObjectRecord; checksum: ObjectChecksum | undefined }> {
  const { source, algorithm } = input;
  const { bucket, key, versionId } = source;
  const found = unwrapSource(await meta.getObject({ bucket, key, versionId }), source);
  evaluateReadConditions(input.headers, found.object, COPY_SOURCE_PREFIX);
  if (algorithm === undefined || found.object.checksum?.algorithm === algorithm) {
    return { from: found.bucket, object: found.object, checksum: undefined };
  }
  const opened = unwrapSource(await objects.open({ bucket, key, versionId }), source);
  try {
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
