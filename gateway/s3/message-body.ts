/** What the pipeline does with bodies that are not object content. */
import type { Authenticated } from './auth/identity.ts';
import { S3Error } from './errors.ts';
import { ingest } from './ingest.ts';
import type { OperationName } from './operation.ts';
import type { RawRequest } from './request.ts';

/** Cap of every XML body: 1,000 keys of full length to delete fit, unless most of them is escapes. */
const XML_BYTES_MAX = 2 * 1024 * 1024;

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const HEX_64 = /^[0-9a-f]{64}$/i;

/** Whether the message has no body at all. */
function hasNoBody(request: RawRequest): boolean {
  return !request.chunked && (request.contentLength ?? 0) === 0;
}

/** There is nothing to hash, but a signature may have promised something. */
function checkEmptyHash(request: RawRequest): void {
  const promised = request.headers['x-amz-content-sha256'];
  if (promised === undefined || promised === EMPTY_SHA256 || !HEX_64.test(promised)) return;
  if (promised.toLowerCase() !== EMPTY_SHA256) throw new S3Error('XAmzContentSHA256Mismatch');
}

/** For operations without a body: InvalidRequest when there is one all the same. */
export async function refuseBody(request: RawRequest, identity: Authenticated): Promise<void> {
  if (hasNoBody(request)) return checkEmptyHash(request);
  if ((identity.decodedLength ?? request.contentLength ?? 0) === 0) {
    // Chunked, and perhaps empty: only reading tells.
    let bytes = 0;
    for await (const chunk of identity.body) {
      bytes += chunk.length;
      if (bytes > 0) break;
    }
    if (bytes === 0) return;
  }
  throw new S3Error('InvalidRequest', { message: 'This operation takes no request body.' });
}

/** For uploads: their length must be announced, or their end be marked by chunked encoding. */
export function requireLength(request: RawRequest): void {
  if (request.contentLength === undefined && !request.chunked) {
    throw new S3Error('MissingContentLength');
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * An XML body (or the JSON of a policy) as text, with Content-MD5 and checksums verified. Throws MaxMessageLengthExceeded
 * above XML_BYTES_MAX without reading on, MalformedXML or MalformedPolicy when it is not UTF-8.
 */
export async function readTextBody(
  request: RawRequest,
  identity: Authenticated,
  operation: OperationName,
): Promise<string> {
  if (hasNoBody(request)) {
    checkEmptyHash(request);
    return '';
  }
  const upload = ingest(
    identity,
    { headers: request.headers, contentLength: request.contentLength },
    {
      maxBytes: XML_BYTES_MAX,
      tooLarge: 'MaxMessageLengthExceeded',
      checksumHeaders: operation === 'CompleteMultipartUpload' ? 'object' : 'body',
    },
  );
  const chunks: Uint8Array[] = [];
  for await (const chunk of upload.body) chunks.push(chunk);
  try {
    return strictUtf8.decode(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
  } catch (cause) {
    throw new S3Error(operation === 'PutBucketPolicy' ? 'MalformedPolicy' : 'MalformedXML', {
      cause,
    });
  }
}
