/**
 * What a request says about encryption. Keys become KeyObjects at once, which nothing prints.
 * Messages are AWS's; so is the `ArgumentName` of errors about customer keys, which names another header.
 */
import { hash } from 'node:crypto';
import { KEY_BYTES, keyOf } from '../../../base/derive-key.ts';
import { canonicalContext } from '../../keys/context.ts';
import type { CustomerKey } from '../../keys/protocol.ts';
import { S3Error } from '../errors.ts';
import type { HeaderMap } from '../request.ts';

const SSE = 'x-amz-server-side-encryption';
const KMS_KEY = `${SSE}-aws-kms-key-id`;
const KMS_CONTEXT = `${SSE}-context`;
const BUCKET_KEY = `${SSE}-bucket-key-enabled`;
const CUSTOMER = `${SSE}-customer-`;
/** Of the source of a copy. */
const COPY_SOURCE = `x-amz-copy-source-server-side-encryption-customer-`;

/** All headers about encryption that are acted upon. */
export const ENCRYPTION_HEADERS: readonly string[] = [
  SSE,
  KMS_KEY,
  KMS_CONTEXT,
  BUCKET_KEY,
  ...[CUSTOMER, COPY_SOURCE].flatMap((prefix) =>
    ['algorithm', 'key', 'key-md5'].map((name) => prefix + name),
  ),
];

/** The encryption that a write asks for. */
export type RequestedEncryption =
  | { algorithm: 'AES256' }
  | {
      algorithm: 'aws:kms';
      keyId: string | undefined;
      context: string | undefined;
      /** Undefined: as the bucket has it. */
      bucketKey: boolean | undefined;
    }
  | { algorithm: 'customer'; customer: CustomerKey };

/** Longest name of a KMS key (AWS KMS, GenerateDataKey). */
const KEY_ID_MAX = 2048;

/**
 * What PutObject, CopyObject, CreateMultipartUpload and forms ask for; undefined: nothing. Throws
 * InvalidArgument, and NotImplemented for two layers of encryption.
 */
export function parseWriteEncryption(headers: HeaderMap): RequestedEncryption | undefined {
  const algorithm = headers[SSE];
  const customer = parseCustomerKey(headers, CUSTOMER, algorithm);
  if (customer !== undefined) return { algorithm: 'customer', customer };
  if (algorithm !== 'aws:kms') refuseKmsHeaders(headers);
  switch (algorithm) {
    case undefined:
      return undefined;
    case 'AES256':
      return { algorithm };
    case 'aws:kms':
      return {
        algorithm,
        keyId: parseKeyId(headers[KMS_KEY]),
        context: parseContext(headers[KMS_CONTEXT]),
        bucketKey: parseBucketKey(headers[BUCKET_KEY]),
      };
    case 'aws:kms:dsse':
      throw new S3Error('NotImplemented', {
        message: 'Dual-layer server-side encryption (aws:kms:dsse) is not implemented.',
        details: { Header: SSE },
      });
    default:
      throw invalid('The encryption method specified is not supported', SSE, algorithm);
  }
}

/**
 * The key with which GetObject and its like read an object that is encrypted by the client's own key.
 * Throws InvalidArgument, also for the headers of writes: to read an object is to know its mode.
 */
export function parseReadKey(headers: HeaderMap): CustomerKey | undefined {
  for (const name of [SSE, KMS_KEY, KMS_CONTEXT]) {
    const value = headers[name];
    if (value === undefined) continue;
    throw invalid(`${name} header is not supported for this operation.`, name, value);
  }
  return parseCustomerKey(headers, CUSTOMER, undefined);
}

/** The key for the source of a copy. Throws InvalidArgument. */
export function parseSourceKey(headers: HeaderMap): CustomerKey | undefined {
  return parseCustomerKey(headers, COPY_SOURCE, undefined);
}

/** What a part or the end of an upload says: its key, and whether it asks for a mode. */
export interface PartEncryption {
  customer: CustomerKey | undefined;
  /** `x-amz-server-side-encryption`: the upload has decided, but must not be without. */
  asks: boolean;
}

/** Throws InvalidArgument. */
export function parsePartEncryption(headers: HeaderMap): PartEncryption {
  const algorithm = headers[SSE];
  return {
    customer: parseCustomerKey(headers, CUSTOMER, algorithm),
    asks: algorithm !== undefined,
  };
}

function parseCustomerKey(
  headers: HeaderMap,
  prefix: string,
  mode: string | undefined,
): CustomerKey | undefined {
  const algorithm = headers[`${prefix}algorithm`];
  const text = headers[`${prefix}key`];
  const md5 = headers[`${prefix}key-md5`];
  if (algorithm === undefined && text === undefined && md5 === undefined) return undefined;
  if (mode !== undefined) {
    throw invalid(
      'Server Side Encryption with Customer provided key is incompatible with the encryption method specified',
      SSE,
      mode,
    );
  }
  const requests = 'Requests specifying Server Side Encryption with Customer provided keys must';
  if (algorithm === undefined) throw invalid(`${requests} provide a valid encryption algorithm.`);
  if (algorithm !== 'AES256') {
    throw new S3Error('InvalidEncryptionAlgorithmError', {
      details: { ArgumentName: SSE, ArgumentValue: algorithm },
    });
  }
  if (text === undefined) throw invalid(`${requests} provide an appropriate secret key.`);
  if (md5 === undefined) {
    throw invalid(`${requests} provide the client calculated MD5 of the secret key.`);
  }
  const bytes = Buffer.from(text, 'base64');
  if (hash('md5', bytes, 'base64') !== md5) {
    bytes.fill(0);
    throw invalid('The calculated MD5 hash of the key did not match the hash that was provided.');
  }
  if (bytes.length !== KEY_BYTES || bytes.toString('base64') !== text) {
    bytes.fill(0);
    throw invalid('The secret key was invalid for the specified algorithm.');
  }
  return { key: keyOf(bytes), md5 };
}

/** Without `aws:kms` the name of a key would be dropped silently. */
function refuseKmsHeaders(headers: HeaderMap): void {
  for (const name of [KMS_KEY, KMS_CONTEXT]) {
    const value = headers[name];
    if (value === undefined) continue;
    throw invalid(
      'Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms',
      SSE,
      headers[SSE] ?? 'null',
    );
  }
}

function parseKeyId(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined;
  if (value.length <= KEY_ID_MAX) return value;
  throw invalid('The name of the KMS key is too long.', KMS_KEY, value.slice(0, 64));
}

function parseContext(value: string | undefined): string | undefined {
  if (value === undefined || canonicalContext(value) !== undefined) return value;
  throw invalid(
    `The header '${KMS_CONTEXT}' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map`,
    KMS_CONTEXT,
    value,
  );
}

function parseBucketKey(value: string | undefined): boolean | undefined {
  if (value === undefined) return undefined;
  if (value.toLowerCase() === 'true') return true;
  if (value.toLowerCase() === 'false') return false;
  throw invalid('Value for the bucket key header must be true or false.', BUCKET_KEY, value);
}

function invalid(message: string, name = SSE, value = 'null'): S3Error {
  return new S3Error('InvalidArgument', {
    message,
    details: { ArgumentName: name, ArgumentValue: value },
  });
}
