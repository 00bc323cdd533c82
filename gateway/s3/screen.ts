/**
 * Headers that would change what a request means and that Ashlar does not act on: refused, never
 * dropped. A client that asks for encryption, a lock or a public ACL and gets 200 would believe it.
 */
import { ENCRYPTION_HEADERS } from './encryption/headers.ts';
import { S3Error } from './errors.ts';
import { LOCKING_OPERATIONS } from './object-lock.ts';
import type { HeaderMap, RawRequest } from './request.ts';

/** What to do about a header: true lets it pass, false is NotImplemented. */
type Rule = (value: string) => boolean;

const never: Rule = () => false;
const only =
  (...values: string[]): Rule =>
  (value) =>
    values.includes(value);

/** ACLs that give nobody more than the owner has anyway. */
const DEFAULT_ACLS = ['private', 'bucket-owner-full-control'];
const CANNED_ACLS: ReadonlySet<string> = new Set([
  ...DEFAULT_ACLS,
  'public-read',
  'public-read-write',
  'authenticated-read',
  'aws-exec-read',
  'bucket-owner-read',
  'log-delivery-write',
]);

const REPLICA_HEADER = 'x-amz-replication-status';

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ...ENCRYPTION_HEADERS.map((name): [string, Rule] => [name, () => true]),
  ['x-amz-acl', acl],
  ['x-amz-bucket-object-lock-enabled', never],
  ['x-amz-bucket-object-lock-token', never],
  ['x-amz-object-ownership', only('BucketOwnerEnforced')],
  ['x-amz-bucket-namespace', only('global')],
  // Another cluster's replica: needs a right of its own (`access/needs.ts`).
  [REPLICA_HEADER, only('REPLICA')],
  ['x-amz-write-offset-bytes', never],
  ['x-amz-rename-source', never],
]);

const REFUSED_PREFIXES: readonly string[] = [
  'x-amz-server-side-encryption',
  'x-amz-copy-source-server-side-encryption',
  'x-amz-object-lock-',
  'x-amz-grant-',
  'x-amz-rename-source-',
];

const TAKE_ACLS: readonly string[] = [
  'CreateBucket',
  'PutObject',
  'CopyObject',
  'CreateMultipartUpload',
  'PutBucketAcl',
  'PutObjectAcl',
];

/** Headers that some operations act on; to all others the rules above apply. */
const HONOURED: readonly { prefix: string; operations: readonly string[] }[] = [
  { prefix: 'x-amz-object-lock-', operations: LOCKING_OPERATIONS },
  { prefix: 'x-amz-bucket-object-lock-enabled', operations: ['CreateBucket'] },
  { prefix: 'x-amz-object-ownership', operations: ['CreateBucket'] },
  { prefix: 'x-amz-acl', operations: TAKE_ACLS },
  { prefix: 'x-amz-grant-', operations: TAKE_ACLS },
  { prefix: 'x-amz-write-offset-bytes', operations: ['PutObject'] },
  { prefix: 'x-amz-rename-source', operations: ['RenameObject'] },
];

function isHonoured(header: string, operation: string): boolean {
  return HONOURED.some(
    ({ prefix, operations }) => header.startsWith(prefix) && operations.includes(operation),
  );
}

/** Throws NotImplemented, or InvalidArgument for values that S3 itself does not know. */
export function screenHeaders(method: string, headers: HeaderMap, operation: string): void {
  for (const name in headers) {
    if (!name.startsWith('x-amz-')) continue;
    const value = headers[name];
    if (value === undefined) continue;
    const rule = RULES.get(name);
    const passes =
      rule === undefined
        ? !REFUSED_PREFIXES.some((prefix) => name.startsWith(prefix))
        : rule(value);
    if (!passes && !isHonoured(name, operation)) throw notImplemented(name);
  }
  // Each of its keys is judged by itself, and only by the right to delete it.
  if (operation === 'DeleteObjects' && headers[REPLICA_HEADER] !== undefined) {
    throw notImplemented(REPLICA_HEADER);
  }
  // A part of an object stored as if it were the whole would be silent corruption (RFC 9110 14.5).
  if (method === 'PUT' && headers['content-range'] !== undefined) {
    throw notImplemented('content-range');
  }
}

function acl(value: string): boolean {
  if (CANNED_ACLS.has(value)) return DEFAULT_ACLS.includes(value);
  throw new S3Error('InvalidArgument', {
    details: { ArgumentName: 'x-amz-acl', ArgumentValue: value },
  });
}

function notImplemented(header: string): S3Error {
  return new S3Error('NotImplemented', {
    message: 'A header you provided implies functionality that is not implemented',
    details: { Header: header },
  });
}

/** Sent twice, these would leave open which one counts; for all others S3 joins the values. */
const SINGLE_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'content-length',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'expires',
  'host',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'range',
]);

/** `x-amz-*` headers that are lists, or that S3 joins. */
const JOINED_PREFIXES: readonly string[] = ['x-amz-meta-', 'x-amz-object-attributes'];

/**
 * Refuses what two readers could read differently: BadRequest for a unique header that came twice
 * and for a missing Host, NotImplemented for a transfer coding beside `chunked`.
 */
export function refuseAmbiguous(request: RawRequest): void {
  for (const name of request.repeatedHeaders) {
    const single =
      SINGLE_HEADERS.has(name) ||
      (name.startsWith('x-amz-') && !JOINED_PREFIXES.some((prefix) => name.startsWith(prefix)));
    if (single) {
      throw new S3Error('BadRequest', {
        message: 'A header that may appear only once was sent more than once.',
        details: { Header: name },
      });
    }
  }
  if (request.headers['host'] === undefined) {
    throw new S3Error('BadRequest', { message: 'The Host header is missing.' });
  }
  const coding = request.headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    throw notImplemented('Transfer-Encoding');
  }
}
