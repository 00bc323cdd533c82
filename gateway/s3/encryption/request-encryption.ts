/**
 * Encryption as one request sees it: which mode a write has, by the request, its bucket or the
 * gateway's default, and the data keys of what it reads.
 */
import type { ObjectEncryption } from '../../../meta/protocol.ts';
import type { CustomerKey, Keyring, KeyTarget, WrappedDataKey } from '../../keys/protocol.ts';
import type { OpenedObject } from '../../object/engine.ts';
import type { BucketSettings } from '../access/bucket-settings.ts';
import { S3Error } from '../errors.ts';
import {
  BUCKET_ENCRYPTION,
  type BucketEncryption,
  parseBucketEncryption,
} from './bucket-default.ts';
import type { PartEncryption, RequestedEncryption } from './headers.ts';

export interface EncryptionOptions {
  keys: Keyring;
  /** What new objects get in buckets that have no default of their own. */
  default: 'off' | 'AES256';
  /** Whether a client may send its keys over a connection without TLS. */
  mayBareKeys: (remoteAddress: string) => boolean;
}

export class RequestEncryption {
  readonly keys: Keyring;
  readonly #options: EncryptionOptions;
  readonly #peer: { secure: boolean; remoteAddress: string };

  constructor(options: EncryptionOptions, peer: { secure: boolean; remoteAddress: string }) {
    this.keys = options.keys;
    this.#options = options;
    this.#peer = peer;
  }

  /** The gateway's default, for buckets without their own. */
  get default(): 'off' | 'AES256' {
    return this.#options.default;
  }

  /**
   * How a new object of the bucket is encrypted; undefined: not at all. Throws AccessDenied when the
   * bucket takes no keys of clients, InvalidRequest for one that came in the clear.
   */
  target(
    requested: RequestedEncryption | undefined,
    bucket: BucketSettings | undefined,
  ): KeyTarget | undefined {
    const own = bucket?.parsed(BUCKET_ENCRYPTION, parseBucketEncryption);
    if (requested === undefined) return this.#defaultTarget(own, bucket?.bucket.name ?? '');
    if (requested.algorithm === 'AES256') return requested;
    if (requested.algorithm === 'customer') {
      this.refuseCustomerKey(requested.customer, bucket);
      return requested;
    }
    const { keyId, context } = requested;
    const bucketKey = requested.bucketKey ?? (own?.algorithm === 'aws:kms' && own.bucketKey);
    return {
      algorithm: 'aws:kms',
      bucket: bucket?.bucket.name ?? '',
      keyId,
      context,
      ...(bucketKey ? { bucketKey } : {}),
    };
  }

  #defaultTarget(own: BucketEncryption | undefined, bucket: string): KeyTarget | undefined {
    switch (own?.algorithm) {
      case 'aws:kms':
        return {
          algorithm: 'aws:kms',
          keyId: own.keyId,
          bucket,
          ...(own.bucketKey ? { bucketKey: true } : {}),
        };
      case 'AES256':
        return { algorithm: 'AES256' };
      default:
        return this.#options.default === 'off' ? undefined : { algorithm: this.#options.default };
    }
  }

  /** A data key for a new object; undefined: it is not encrypted. Throws as `target`, and KeyError. */
  async create(
    requested: RequestedEncryption | undefined,
    bucket: BucketSettings | undefined,
  ): Promise<WrappedDataKey | undefined> {
    const target = this.target(requested, bucket);
    return target && (await this.keys.create(target));
  }

  /** Refuses writes with a key of the client: where the bucket says so, and over a bare connection. */
  refuseCustomerKey(customer: CustomerKey | undefined, bucket: BucketSettings | undefined): void {
    if (customer === undefined) return;
    this.#refuseBareKey();
    if (!bucket?.parsed(BUCKET_ENCRYPTION, parseBucketEncryption)?.blocksCustomerKeys) return;
    throw new S3Error('AccessDenied', {
      message:
        'This bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type.',
    });
  }

  #refuseBareKey(): void {
    const { secure, remoteAddress } = this.#peer;
    if (secure || this.#options.mayBareKeys(remoteAddress)) return;
    throw new S3Error('InvalidRequest', {
      message:
        'Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.',
    });
  }

  /**
   * The data key of something that is encrypted; undefined when it is not. The client's key must be
   * there when it is needed, and not when it is not. Throws S3Error and KeyError.
   */
  async unwrap(
    encryption: ObjectEncryption | undefined,
    customer: CustomerKey | undefined,
  ): Promise<WrappedDataKey | undefined> {
    if (customer !== undefined) this.#refuseBareKey();
    if (encryption?.algorithm !== 'customer' && customer !== undefined) {
      throw new S3Error('InvalidRequest', {
        message: 'The encryption parameters are not applicable to this object.',
      });
    }
    if (encryption === undefined) return undefined;
    if (encryption.algorithm === 'customer' && customer === undefined) {
      throw new S3Error('InvalidRequest', {
        message:
          'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.',
      });
    }
    return { dataKey: await this.keys.unwrap(encryption, customer), encryption };
  }

  /** As `unwrap`, for what shows an object without its bytes: asks no KMS. */
  async check(
    encryption: ObjectEncryption | undefined,
    customer: CustomerKey | undefined,
  ): Promise<void> {
    if (customer === undefined && encryption?.algorithm !== 'customer') return;
    await this.unwrap(encryption, customer);
  }

  /** Makes an object readable. Throws as `unwrap`. */
  async unlock(opened: OpenedObject, customer: CustomerKey | undefined): Promise<void> {
    const { encryption } = opened.object;
    if (encryption === undefined && customer === undefined) return;
    const key = await this.unwrap(encryption, customer);
    if (key !== undefined) opened.unlock(key.dataKey);
  }

  /**
   * The data key of an upload, for one of its parts. The key of the client must be the one that the
   * upload was begun with. Throws InvalidRequest and KeyError.
   */
  async forPart(
    encryption: ObjectEncryption | undefined,
    part: PartEncryption,
    bucket: BucketSettings | undefined,
  ): Promise<WrappedDataKey | undefined> {
    this.refuseCustomerKey(part.customer, bucket);
    this.checkPart(encryption, part);
    return await this.unwrap(encryption, part.customer);
  }

  /** Whether the part, or the end, says of its encryption what its upload does. Throws InvalidRequest. */
  checkPart(encryption: ObjectEncryption | undefined, { customer, asks }: PartEncryption): void {
    const wanted = encryption?.algorithm === 'customer';
    if (wanted && customer === undefined) {
      throw new S3Error('InvalidRequest', {
        message:
          'The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.',
      });
    }
    const without = encryption === undefined || wanted;
    if ((!wanted && customer !== undefined) || (asks && without)) {
      throw new S3Error('InvalidRequest', {
        message:
          'The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.',
      });
    }
    if (customer !== undefined && customer.md5 !== encryption?.keyMd5) {
      throw new S3Error('InvalidRequest', {
        message: 'The provided encryption parameters did not match the ones used originally.',
      });
    }
  }
}
