/** What replies say about encryption. */
import type { ShownEncryption } from '../../../meta/protocol.ts';
import type { RawReply } from '../request.ts';

type Headers = RawReply['headers'];

const SSE = 'x-amz-server-side-encryption';

/** Headers of GetObject, HeadObject and everything that writes. None for what is not encrypted. */
export function encryptionHeaders(encryption: ShownEncryption | undefined): Headers {
  if (encryption === undefined) return {};
  const { algorithm, keyId, keyMd5, bucketKey } = encryption;
  switch (algorithm) {
    case 'customer':
      return { [`${SSE}-customer-algorithm`]: 'AES256', [`${SSE}-customer-key-MD5`]: keyMd5 };
    case 'AES256':
      return { [SSE]: algorithm };
    case 'aws:kms':
    case 'aws:kms:dsse':
      return {
        [SSE]: algorithm,
        [`${SSE}-aws-kms-key-id`]: keyId,
        ...(bucketKey && { [`${SSE}-bucket-key-enabled`]: 'true' }),
      };
    default:
      return algorithm satisfies never;
  }
}

/** Of what makes an object: the context comes back, too, which is never shown again. */
export function writtenEncryptionHeaders(encryption: ShownEncryption | undefined): Headers {
  const headers = encryptionHeaders(encryption);
  if (encryption?.context !== undefined) headers[`${SSE}-context`] = encryption.context;
  return headers;
}
