/**
 * Forms as browsers post them: policies signed by the tests' own hand, bodies put together byte by
 * byte. Source: AWS, "Browser-based uploads using POST".
 */
import { createHmac } from 'node:crypto';
import { amzDate, type Keys, signingKey } from './sign.ts';

/** In the order in which they are sent. */
export type Fields = readonly (readonly [name: string, value: string])[];

export interface PolicyOptions {
  keys: Keys;
  conditions: readonly unknown[];
  /** Seconds until the policy expires. */
  expiresIn?: number;
  /** Instead of the whole document. */
  document?: unknown;
}

/** `yyyy-mm-ddThh:mm:ssZ`, so many seconds from now. */
export const expirationIn = (seconds: number): string =>
  `${new Date(Date.now() + seconds * 1000).toISOString().slice(0, 19)}Z`;

/** The fields of a policy that is signed by Version 4; those that it must cover are covered. */
export function signedV4(options: PolicyOptions): [string, string][] {
  const { keys, conditions } = options;
  const date = amzDate(Date.now());
  const day = date.slice(0, 8);
  const covered: [string, string][] = [
    ['x-amz-algorithm', 'AWS4-HMAC-SHA256'],
    ['x-amz-credential', `${keys.accessKey}/${day}/${keys.region ?? 'us-east-1'}/s3/aws4_request`],
    ['x-amz-date', date],
  ];
  const all = [...conditions, ...covered.map(([name, value]) => ({ [name]: value }))];
  const policy = encodePolicy({ ...options, conditions: all });
  const signature = createHmac('sha256', signingKey(keys, day)).update(policy).digest('hex');
  return [...covered, ['policy', policy], ['x-amz-signature', signature]];
}

/** The fields of a policy that is signed by Version 2. */
export function signedV2(options: PolicyOptions): [string, string][] {
  const { keys } = options;
  const policy = encodePolicy(options);
  const signature = createHmac('sha1', keys.secretKey).update(policy).digest('base64');
  return [
    ['AWSAccessKeyId', keys.accessKey],
    ['policy', policy],
    ['signature', signature],
  ];
}

function encodePolicy({ conditions, expiresIn = 600, document }: PolicyOptions): string {
  const policy = document ?? { expiration: expirationIn(expiresIn), conditions };
  return Buffer.from(JSON.stringify(policy)).toString('base64');
}

const BOUNDARY = 'ashlar-test-boundary';
export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

export interface FormFile {
  content: string | Uint8Array;
  filename?: string;
}

/** A form with its file behind the fields; `after` stands behind the file. */
export function formBody(fields: Fields, file?: FormFile, after: Fields = []): Buffer {
  const part = (head: string, value: string | Uint8Array): Buffer =>
    Buffer.concat([
      Buffer.from(`--${BOUNDARY}\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
      Buffer.from(value as Uint8Array),
      Buffer.from('\r\n'),
    ]);
  const simple = ([name, value]: readonly [string, string]): Buffer =>
    part(`name="${name}"`, value);
  return Buffer.concat([
    ...fields.map(simple),
    ...(file === undefined
      ? []
      : [part(`name="file"; filename="${file.filename ?? 'file.bin'}"`, file.content)]),
    ...after.map(simple),
    Buffer.from(`--${BOUNDARY}--\r\n`),
  ]);
}
