import { createHmac, type KeyObject } from 'node:crypto';
import type { WrappedDataKey } from '../../keys/protocol.ts';

/**
 * The ETag of content with this MD5 (hex). Under KMS and customer keys it is no MD5 of the content, as on
 * AWS: whoever may list a bucket must not be able to tell what is in it. Made with the data key, so
 * the same part sent twice to one upload has the same one.
 */
export function etagOf(md5: string, sealed: WrappedDataKey | undefined): string {
  if (sealed === undefined || sealed.encryption.algorithm === 'AES256') return md5;
  return keyedEtag(md5, sealed.dataKey);
}

const ETAG_HEX_DIGITS = 32;

function keyedEtag(md5: string, dataKey: KeyObject): string {
  const mac = createHmac('sha256', dataKey).update('ashlar etag 1\0').update(md5).digest('hex');
  return mac.slice(0, ETAG_HEX_DIGITS);
}
