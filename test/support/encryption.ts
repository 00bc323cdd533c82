/** Modes of encryption for tests: what a client sends to write, to read, and to copy from. */
import { createHash } from 'node:crypto';
import type { EncryptionConfig } from '../../gateway/config.ts';

const keyBytes = (name: string): Buffer => createHash('sha256').update(name).digest();
const base64 = (bytes: Buffer): string => bytes.toString('base64');

/** Base64 of a key of 32 bytes that belongs to a name. */
export const keyText = (name: string): string => base64(keyBytes(name));

export interface CustomerHeaders {
  SSECustomerAlgorithm: 'AES256';
  SSECustomerKey: string;
  SSECustomerKeyMD5: string;
}

/** A client's own key, as the SDK sends it. */
export function customerKey(name: string): CustomerHeaders {
  const key = keyBytes(name);
  return {
    SSECustomerAlgorithm: 'AES256',
    SSECustomerKey: base64(key),
    SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
  };
}

/** The same for the source of a copy. */
export function sourceKey(name: string) {
  const { SSECustomerAlgorithm, SSECustomerKey, SSECustomerKeyMD5 } = customerKey(name);
  return {
    CopySourceSSECustomerAlgorithm: SSECustomerAlgorithm,
    CopySourceSSECustomerKey: SSECustomerKey,
    CopySourceSSECustomerKeyMD5: SSECustomerKeyMD5,
  };
}

export type Mode = 'plain' | 'sse-s3' | 'sse-kms' | 'sse-c';
export const MODES: readonly Mode[] = ['plain', 'sse-s3', 'sse-kms', 'sse-c'];

/** What a write in this mode sends. */
export function writing(mode: Mode, key = 'mine') {
  switch (mode) {
    case 'plain':
      return {};
    case 'sse-s3':
      return { ServerSideEncryption: 'AES256' as const };
    case 'sse-kms':
      return { ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId: 'k1' };
    case 'sse-c':
      return customerKey(key);
  }
}

/** What a read of such an object sends, and a part of such an upload. */
export const reading = (mode: Mode, key = 'mine') => (mode === 'sse-c' ? customerKey(key) : {});

/** What a copy from such an object sends. */
export const copying = (mode: Mode, key = 'mine') => (mode === 'sse-c' ? sourceKey(key) : {});

/** What a reply about such an object says, as the SDK shows it. */
export function shown(mode: Mode, key = 'mine') {
  switch (mode) {
    case 'plain':
      return {};
    case 'sse-s3':
      return { ServerSideEncryption: 'AES256' };
    case 'sse-kms':
      return { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'k1' };
    case 'sse-c': {
      const { SSECustomerAlgorithm, SSECustomerKeyMD5 } = customerKey(key);
      return { SSECustomerAlgorithm, SSECustomerKeyMD5 };
    }
  }
}

const SHOWN = [
  'ServerSideEncryption',
  'SSEKMSKeyId',
  'SSECustomerAlgorithm',
  'SSECustomerKeyMD5',
  'BucketKeyEnabled',
] as const;

/** What a reply says about encryption. */
export function saidOf(reply: object): Record<string, unknown> {
  const fields = reply as Record<string, unknown>;
  return Object.fromEntries(
    SHOWN.flatMap((name) => (fields[name] === undefined ? [] : [[name, fields[name]]])),
  );
}

/** A gateway with one master key and the KMS keys `k1` and `k2`. */
export const ENCRYPTION: EncryptionConfig = {
  default: 'off',
  masterKeys: [keyText('master')],
  kms: { keys: [`k1=${keyText('k1')}`, `k2=${keyText('k2')}`] },
};
