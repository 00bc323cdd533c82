/** `x-amz-copy-source`: where CopyObject and UploadPartCopy read. */
import type { Answer } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import { isBucketName, validateKey } from './names.ts';
import { decodePercent } from './percent.ts';
import { unwrap } from './refusal.ts';
import { checkedVersionId } from './version-id.ts';

export interface CopySource {
  bucket: string;
  key: string;
  /** Of the current version when absent. */
  versionId?: string | undefined;
}

const VERSION_MARK = '?versionId=';

/**
 * Parses `[/]bucket/key[?versionId=…]`, percent-encoded UTF-8. Slashes inside the key are kept as
 * they are, also repeated ones. Throws InvalidArgument.
 */
export function parseCopySource(header: string): CopySource {
  // An encoded `?` belongs to the key, a bare one may too: only the last mark counts.
  const mark = header.lastIndexOf(VERSION_MARK);
  const path = mark < 0 ? header : header.slice(0, mark);
  const decoded = decodePercent(path.startsWith('/') ? path.slice(1) : path);
  const versionId = mark < 0 ? undefined : decodePercent(header.slice(mark + VERSION_MARK.length));
  if (decoded === undefined || (mark >= 0 && versionId === undefined)) {
    throw invalid(header, 'The copy source is not percent-encoded UTF-8.');
  }
  const slash = decoded.indexOf('/');
  if (slash < 1 || slash === decoded.length - 1) {
    throw invalid(
      header,
      'Copy Source must mention the source bucket and key: sourcebucket/sourcekey',
    );
  }
  const bucket = decoded.slice(0, slash);
  const key = decoded.slice(slash + 1);
  if (!isBucketName(bucket)) throw invalid(header, 'Invalid copy source bucket name');
  validateKey(key);
  checkedVersionId(versionId);
  return versionId === undefined ? { bucket, key } : { bucket, key, versionId };
}

/** The source of a copy. A delete marker that was named is InvalidRequest (AWS: CopyObject). */
export function unwrapSource<T>(answer: Answer<T>, source: CopySource): T {
  if (!answer.ok && answer.refusal === 'MethodNotAllowed') {
    throw new S3Error('InvalidRequest', {
      message:
        'The source of a copy request may not specifically refer to a delete marker by version id.',
    });
  }
  return unwrap(answer, source);
}

function invalid(header: string, message: string): S3Error {
  return new S3Error('InvalidArgument', {
    message,
    details: { ArgumentName: 'x-amz-copy-source', ArgumentValue: header },
  });
}
