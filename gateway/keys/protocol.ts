/**
 * The data keys of encrypted objects: made, wrapped by a master key, a KMS key or the client's own
 * key, and unwrapped again. The S3 operations see this file and nothing else of the folder.
 */
import type { KeyObject } from 'node:crypto';
import type { ObjectEncryption } from '../../meta/protocol.ts';

/** A key that a client sent with its request (SSE-C). */
export interface CustomerKey {
  key: KeyObject;
  /** Base64 of the key's MD5, as the client sent it. */
  md5: string;
}

/** How a data key is to be wrapped. */
export type KeyTarget =
  /** By the active master key. */
  | { algorithm: 'AES256' }
  | {
      algorithm: 'aws:kms';
      /** The default key when absent. */
      keyId?: string | undefined;
      /** As sent: base64 of a JSON object of strings. Only who gives the same one unwraps the key. */
      context?: string | undefined;
      /** Fewer calls of the KMS: one key of it serves all objects of `bucket` for some minutes. */
      bucketKey?: true | undefined;
      bucket: string;
    }
  | { algorithm: 'customer'; customer: CustomerKey };

/**
 * Why a key could not be had. `no-master-key`: none is configured; `lost-master-key`: not the one that
 * wrapped this; `unknown-key`: the KMS has none of that name; `denied`: the KMS refuses; `unavailable`:
 * it does not answer; `wrong-key`: the client's key is another one; `damaged`: what is stored is not
 * what was wrapped.
 */
export type KeyProblem =
  | 'no-master-key'
  | 'lost-master-key'
  | 'unknown-key'
  | 'denied'
  | 'unavailable'
  | 'wrong-key'
  | 'damaged';

/** Messages name keys and never hold them. */
export class KeyError extends Error {
  readonly problem: KeyProblem;

  constructor(problem: KeyProblem, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'KeyError';
    this.problem = problem;
  }
}

/** A data key and how it is kept. */
export interface WrappedDataKey {
  dataKey: KeyObject;
  encryption: ObjectEncryption;
}

export interface Keyring {
  /** A new data key. Throws KeyError. */
  create(target: KeyTarget): Promise<WrappedDataKey>;
  /** Wraps a data key anew. Throws KeyError. */
  wrap(dataKey: KeyObject, target: KeyTarget): Promise<ObjectEncryption>;
  /** The data key; `customer` is what the client sent, for `algorithm: 'customer'`. Throws KeyError. */
  unwrap(encryption: ObjectEncryption, customer: CustomerKey | undefined): Promise<KeyObject>;
  /** Name of the master key that wraps now; undefined: there is none. */
  readonly activeMasterKey: string | undefined;
  /** True when `wrap` would name another key than `encryption` does: it was rotated. */
  isOutdated(encryption: ObjectEncryption): boolean;
}

/** A key management service: keys that never leave it, which encrypt others. */
export interface KeyService {
  /** A fresh key of 32 bytes, and what the service makes of it under `keyId`. Throws KeyError. */
  generate(keyId: string): Promise<{ key: KeyObject; wrapped: Buffer }>;
  /** The key again. Throws KeyError. */
  unwrap(keyId: string, wrapped: Buffer): Promise<KeyObject>;
}
