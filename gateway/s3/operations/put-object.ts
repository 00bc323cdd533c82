import type { ChecksumAlgorithm } from '../../../base/object-checksum.ts';
import {
  type ObjectLock,
  type ObjectEncryption,
  type SystemMetadata,
  type Tag,
  type UserMetadata,
  type WriteCondition,
  type Written,
} from '../../../meta/protocol.ts';
import { appendBody, parseWriteOffset } from '../append.ts';
import { type AclRequest, parseAclHeaders } from '../access/acl-request.ts';
import { writtenAccess } from '../access/written-access.ts';
import { parseWriteCondition } from '../conditions.ts';
import { etagOf } from '../encryption/etag.ts';
import { parseWriteEncryption, type RequestedEncryption } from '../encryption/headers.ts';
import { writtenEncryptionHeaders } from '../encryption/replies.ts';
import { storeBody } from '../encryption/store-body.ts';
import { quoteEtag } from '../etag.ts';
import { ingest, type IngestResult } from '../ingest.ts';
import { expirationHeader, expirationOfStored } from '../lifecycle.ts';
import { parseSystemMetadata, parseUserMetadata } from '../metadata.ts';
import { checkLockOfNew, parseLockHeaders, requireLockDigest } from '../object-lock.ts';
import { defineOperation, type Operation } from '../operation.ts';
import { checksumHeaders } from '../object-reply.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap, RawReply } from '../request.ts';
import { parseTaggingHeader } from '../tags.ts';
import { writtenVersionId } from '../version-id.ts';

/** Largest object that one PutObject takes: 5 GiB. */
export const PUT_BYTES_MAX = 5 * 1024 ** 3;

/** What the object's checksum is when the client names no algorithm, as on AWS. */
export const DEFAULT_ALGORITHM: ChecksumAlgorithm = 'CRC64NVME';

export interface PutObjectInput {
  bucket: string;
  key: string;
  headers: HeaderMap;
  contentLength: number | undefined;
  system: SystemMetadata;
  user: UserMetadata;
  tags: Tag[] | undefined;
  lock: ObjectLock | undefined;
  condition: WriteCondition | undefined;
  acl: AclRequest | undefined;
  encryption: RequestedEncryption | undefined;
  /** Where the body goes: an append. */
  offset: number | undefined;
}

export interface PutObjectOutput {
  written: Written;
  expiration: string | undefined;
  checksum: IngestResult['checksum'];
  encryption: ObjectEncryption | undefined;
  /** Of the whole object, after an append. */
  objectSize?: number | undefined;
}

/** PutObject's steps; a form upload takes them, too. */
export const PUT_OBJECT: Operation<PutObjectInput, PutObjectOutput> = {
  name: 'PutObject',
  permission: 's3:PutObject',
  body: 'stream',
  query: [],
  parse({ bucket, key, headers, contentLength }) {
    return {
      bucket,
      key,
      headers,
      contentLength,
      system: parseSystemMetadata(headers),
      user: parseUserMetadata(headers),
      tags: parseTaggingHeader(headers['x-amz-tagging']),
      lock: parseLockHeaders(headers),
      condition: parseWriteCondition(headers),
      acl: parseAclHeaders(headers),
      encryption: parseWriteEncryption(headers),
      offset: parseWriteOffset(headers),
    };
  },
  async execute(input, context) {
    checkLockOfNew(input.lock, context.settings, context.clock.now());
    requireLockDigest(input.lock, input.headers, context.settings);
    const access = await writtenAccess(input.acl, context);
    if (input.offset !== undefined) {
      const limits = {
        maxBytes: PUT_BYTES_MAX,
        defaultAlgorithm: DEFAULT_ALGORITHM,
        written: access,
      };
      const appended = await appendBody(input, input.offset, context, limits);
      return {
        written: appended,
        checksum: appended.checksum,
        encryption: undefined,
        objectSize: appended.size,
        expiration: await expirationOfStored(input, appended, context),
      };
    }
    const upload = ingest(context.payload, input, {
      maxBytes: PUT_BYTES_MAX,
      defaultAlgorithm: DEFAULT_ALGORITHM,
    });
    const { bucket, key } = input;
    const { answer, sealed } = await storeBody(
      input.encryption,
      context,
      upload.body,
      ({ writer, size, data, missing }, sealed) => {
        const { md5, checksum } = upload.result();
        const object = {
          size,
          etag: etagOf(md5, sealed),
          data,
          checksum: checksum && { ...checksum, type: 'FULL_OBJECT' as const },
          system: input.system,
          user: input.user,
          ...(input.tags && { tags: input.tags }),
          ...(input.lock && { lock: input.lock }),
          ...(sealed && { encryption: sealed.encryption }),
        };
        const { condition } = input;
        const command = { writer, bucket, key, condition, missing };
        return context.access.inState((expect) =>
          context.meta.putObject({ ...command, object: { ...object, ...access() }, expect }),
        );
      },
      { sizeHint: input.contentLength },
    );
    const written = unwrap(answer, input);
    const { size, checksum } = upload.result();
    const version = { size, modifiedMs: written.modifiedMs, tags: input.tags };
    const expiration = expirationHeader(context.settings, key, version);
    return { written, checksum, encryption: sealed?.encryption, expiration };
  },
  serialize({ written, checksum, encryption, objectSize, expiration }) {
    const headers: RawReply['headers'] = {
      ETag: quoteEtag(written.etag),
      ...(checksum && checksumHeaders({ ...checksum, type: 'FULL_OBJECT' })),
      ...(encryption && writtenEncryptionHeaders(encryption)),
    };
    const versionId = writtenVersionId(written);
    if (versionId !== undefined) headers['x-amz-version-id'] = versionId;
    if (objectSize !== undefined) headers['x-amz-object-size'] = objectSize;
    if (expiration !== undefined) headers['x-amz-expiration'] = expiration;
    return { status: 200, headers };
  },
};

/** PutObject. */
export const putObject = defineOperation(PUT_OBJECT);
