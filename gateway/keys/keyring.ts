/** All keys that a gateway knows, behind one interface: master keys, KMS keys, and none of clients. */
import type { KeyObject } from 'node:crypto';
import type { Effects } from '../../base/clock.ts';
import { KEY_BYTES, keyOf } from '../../base/derive-key.ts';
import type { ObjectEncryption } from '../../meta/protocol.ts';
import { BucketKeys } from './bucket-keys.ts';
import { canonicalContext } from './context.ts';
import type { MasterKey } from './master-keys.ts';
import { KeyError, type Keyring, type KeyService, type KeyTarget } from './protocol.ts';
import { unwrapKey, WRAPPED_BYTES, wrapKey } from './wrap.ts';

export interface KeyringOptions {
  /** The first one wraps. */
  masters: readonly MasterKey[];
  /** Undefined: there are no KMS keys. */
  kms: KeyService | undefined;
  /** The KMS key of those who name none. */
  defaultKmsKey: string | undefined;
  effects: Effects;
}

type KmsTarget = Extract<KeyTarget, { algorithm: 'aws:kms' }>;

const NO_KMS: KeyService = {
  generate: (keyId) => Promise.reject(new KeyError('unknown-key', `Invalid keyId '${keyId}'`)),
  unwrap: (keyId) => Promise.reject(new KeyError('unknown-key', `Invalid keyId '${keyId}'`)),
};

export function createKeyring(options: KeyringOptions): Keyring {
  const { masters, effects } = options;
  const { random, clock } = effects;
  const kms = options.kms ?? NO_KMS;
  const bucketKeys = new BucketKeys(kms, clock);

  function underMaster(dataKey: KeyObject): ObjectEncryption {
    const [active] = masters;
    if (active === undefined) throw new KeyError('no-master-key', 'there is no master key');
    const wrappedKey = wrapKey(active.key, dataKey, masterPurpose(active.id), random);
    return { algorithm: 'AES256', wrappedKey, keyId: active.id };
  }

  async function underKms(dataKey: KeyObject, target: KmsTarget): Promise<ObjectEncryption> {
    const keyId = target.keyId ?? options.defaultKmsKey;
    if (keyId === undefined) {
      throw new KeyError('unknown-key', 'No KMS key was named, and there is no default KMS key');
    }
    const { context, bucketKey } = target;
    const { key, wrapped } = bucketKey
      ? await bucketKeys.generate(target.bucket, keyId)
      : await kms.generate(keyId);
    const inner = wrapKey(key, dataKey, kmsPurpose(keyId, context), random);
    const encryption: ObjectEncryption = {
      algorithm: 'aws:kms',
      wrappedKey: Buffer.concat([inner, wrapped]),
      keyId,
    };
    if (context !== undefined) encryption.context = context;
    if (bucketKey) encryption.bucketKey = true;
    return encryption;
  }

  async function fromKms(encryption: ObjectEncryption): Promise<KeyObject | undefined> {
    const { wrappedKey, keyId = '', context, bucketKey } = encryption;
    const wrapped = wrappedKey.subarray(WRAPPED_BYTES);
    const key = await (bucketKey ? bucketKeys : kms).unwrap(keyId, wrapped);
    return unwrapKey(key, wrappedKey.subarray(0, WRAPPED_BYTES), kmsPurpose(keyId, context));
  }

  function fromMaster({ wrappedKey, keyId = '' }: ObjectEncryption): KeyObject | undefined {
    const master = masters.find(({ id }) => id === keyId);
    if (master !== undefined) return unwrapKey(master.key, wrappedKey, masterPurpose(keyId));
    throw new KeyError(
      'lost-master-key',
      `the master key ${keyId} is not among those of this gateway`,
    );
  }

  const keyring: Keyring = {
    activeMasterKey: masters[0]?.id,

    async create(target) {
      const dataKey = keyOf(random.bytes(KEY_BYTES));
      return { dataKey, encryption: await keyring.wrap(dataKey, target) };
    },

    async wrap(dataKey, target) {
      if (target.algorithm === 'AES256') return underMaster(dataKey);
      if (target.algorithm === 'aws:kms') return await underKms(dataKey, target);
      const { key, md5 } = target.customer;
      const wrappedKey = wrapKey(key, dataKey, CUSTOMER_PURPOSE, random);
      return { algorithm: 'customer', wrappedKey, keyMd5: md5 };
    },

    async unwrap(encryption, customer) {
      const { algorithm, wrappedKey } = encryption;
      if (algorithm === 'customer') {
        const key = customer && unwrapKey(customer.key, wrappedKey, CUSTOMER_PURPOSE);
        if (key !== undefined) return key;
        throw new KeyError('wrong-key', "the client's key is not the one that encrypts this");
      }
      const key = algorithm === 'AES256' ? fromMaster(encryption) : await fromKms(encryption);
      if (key !== undefined) return key;
      throw new KeyError('damaged', `a data key under ${encryption.keyId} is damaged`);
    },

    isOutdated: ({ algorithm, keyId }) =>
      algorithm === 'AES256' && masters.length > 0 && keyId !== masters[0]?.id,
  };
  return keyring;
}

const CUSTOMER_PURPOSE = 'customer';

function masterPurpose(keyId: string): string {
  return `AES256\0${keyId}`;
}

function kmsPurpose(keyId: string, context: string | undefined): string {
  const canonical = context === undefined ? '' : (canonicalContext(context) ?? '');
  return `aws:kms\0${keyId}\0${canonical}`;
}
