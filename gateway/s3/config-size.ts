/** The bound on what is kept of one configuration of a bucket. */
import { BUCKET_CONFIG_BYTES_MAX } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';

/** The configuration as it is kept. Throws InvalidRequest when it is too long for that. */
export function withinLimit(value: string): string {
  if (Buffer.byteLength(value) <= BUCKET_CONFIG_BYTES_MAX) return value;
  throw new S3Error('InvalidRequest', {
    message: `The configuration is too long: ${BUCKET_CONFIG_BYTES_MAX} bytes of it can be kept.`,
  });
}
