import type { ChecksumAlgorithm, ChecksumType } from '../../../base/object-checksum.ts';
import { CHECKSUM_ALGORITHMS } from '../../../base/object-checksum.ts';
import type {
  ObjectLock,
  SystemMetadata,
  Tag,
  Upload,
  UserMetadata,
} from '../../../meta/protocol.ts';
import { type AclRequest, parseAclHeaders } from '../access/acl-request.ts';
import { writtenAccess } from '../access/written-access.ts';
import { parseWriteEncryption, type RequestedEncryption } from '../encryption/headers.ts';
import { writtenEncryptionHeaders } from '../encryption/replies.ts';
import { withTarget } from '../encryption/target-watch.ts';
import { S3Error } from '../errors.ts';
import { checksumAlgorithm } from '../ingest.ts';
import { abortHeaders } from '../lifecycle.ts';
import { parseSystemMetadata, parseUserMetadata } from '../metadata.ts';
import { checkLockOfNew, parseLockHeaders } from '../object-lock.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import { parseTaggingHeader } from '../tags.ts';
import { initiateMultipartUploadResult } from '../xml/initiate-multipart-upload-result.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  key: string;
  system: SystemMetadata;
  user: UserMetadata;
  tags: Tag[] | undefined;
  lock: ObjectLock | undefined;
  checksum: { algorithm: ChecksumAlgorithm; type: ChecksumType };
  encryption: RequestedEncryption | undefined;
  acl: AclRequest | undefined;
  /** The client named the algorithm: only then the answer does, as on AWS. */
  named: boolean;
}

interface Output {
  upload: Upload;
  abort: Record<string, string>;
  named: boolean;
}

/** CreateMultipartUpload. */
export const createMultipartUpload = defineOperation<Input, Output>({
  name: 'CreateMultipartUpload',
  permission: 's3:PutObject',
  body: 'none',
  query: ['uploads'],
  parse({ bucket, key, headers }) {
    return {
      bucket,
      key,
      system: parseSystemMetadata(headers),
      user: parseUserMetadata(headers),
      tags: parseTaggingHeader(headers['x-amz-tagging']),
      lock: parseLockHeaders(headers),
      checksum: parseUploadChecksum(headers) ?? UNNAMED_CHECKSUM,
      encryption: parseWriteEncryption(headers),
      acl: parseAclHeaders(headers),
      named: headers['x-amz-checksum-algorithm'] !== undefined,
    };
  },
  async execute({ named, tags, lock, encryption: requested, acl, ...name }, context) {
    const { meta, account, signal, settings } = context;
    checkLockOfNew(lock, settings, context.clock.now());
    const written = await writtenAccess(acl, context);
    return await withTarget(requested, context, async (target) => {
      // Each part asks for the data key again: the upload may outlive this gateway.
      const sealed = target && (await context.encryption.keys.create(target));
      const command = {
        ...name,
        ...(tags && { tags }),
        ...(lock && { lock }),
        ...(sealed && { encryption: sealed.encryption }),
        initiator: account.id,
      };
      const answer = await context.access.inState((expect) =>
        meta.createUpload({ ...command, ...written(), expect }, { signal }),
      );
      const upload = unwrap(answer, name);
      return { upload, named, abort: abortHeaders(context.settings, upload) };
    });
  },
  serialize: ({ upload, named, abort }) =>
    xmlReply(initiateMultipartUploadResult(upload), {
      ...abort,
      'x-amz-checksum-algorithm': named ? upload.checksum?.algorithm : undefined,
      'x-amz-checksum-type': named ? upload.checksum?.type : undefined,
      ...writtenEncryptionHeaders(upload.encryption),
    }),
});

/** What each algorithm can be; the first is the default (AWS: "Checking object integrity"). */
const TYPES: Record<ChecksumAlgorithm, readonly ChecksumType[]> = {
  CRC32: ['COMPOSITE', 'FULL_OBJECT'],
  CRC32C: ['COMPOSITE', 'FULL_OBJECT'],
  CRC64NVME: ['FULL_OBJECT'],
  SHA1: ['COMPOSITE'],
  SHA256: ['COMPOSITE'],
};

/** What an object gets whose client names no algorithm (AWS: "Checking object integrity"). */
const UNNAMED_CHECKSUM: Input['checksum'] = { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' };

/** The checksum that the client wants for the finished object. Throws InvalidRequest. */
function parseUploadChecksum(headers: HeaderMap): Input['checksum'] | undefined {
  const name = headers['x-amz-checksum-algorithm'];
  const type = parseChecksumType(headers['x-amz-checksum-type']);
  if (name === undefined) {
    if (type === undefined) return undefined;
    throw invalid(
      'The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.',
    );
  }
  const algorithm = checksumAlgorithm(name);
  if (algorithm === undefined) {
    throw invalid(
      `Checksum algorithm provided is unsupported. Please try again with any of the valid types: [${CHECKSUM_ALGORITHMS.join(', ')}]`,
    );
  }
  const [standard = 'COMPOSITE'] = TYPES[algorithm];
  if (type !== undefined && !TYPES[algorithm].includes(type)) {
    throw invalid(
      `The ${type} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
    );
  }
  return { algorithm, type: type ?? standard };
}

/** `x-amz-checksum-type`. Throws InvalidRequest. */
export function parseChecksumType(value: string | undefined): ChecksumType | undefined {
  const type = value?.toUpperCase();
  if (type === undefined || type === 'COMPOSITE' || type === 'FULL_OBJECT') return type;
  throw invalid('Value for x-amz-checksum-type header is invalid.');
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidRequest', { message });
}
