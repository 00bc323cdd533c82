/**
 * One line of a server access log, exactly as S3 writes it.
 *
 * Source: "Amazon S3 server access log format", Amazon S3 User Guide.
 */
import { plainAddress } from '../access/policy/operators.ts';
import { redactKeys } from '../encryption/redact.ts';
import type { RawReply, RawRequest } from '../request.ts';

/** What a request did beside what it is about: its bucket's log has a line of its own for that. */
export interface SideAction {
  /** One key of a DeleteObjects; the object that was copied from. */
  name: 'BATCH.DELETE.OBJECT' | 'REST.COPY.OBJECT_GET';
  bucket: string;
  key: string;
  versionId: string | undefined;
  status: number;
  /** S3 error code. */
  code: string | undefined;
}

/** The line of a side action of a request. */
export function sideActionLine(
  { name, key, versionId, status, code }: SideAction,
  entry: Omit<LoggedRequest, 'key'>,
): string {
  const fields = fieldsOf({ ...entry, key, code, sentBytes: 0 });
  const batch = name === 'BATCH.DELETE.OBJECT';
  fields[OPERATION] = name;
  fields[STATUS] = String(status);
  fields[OBJECT_SIZE] = undefined;
  fields[VERSION] = versionId;
  if (batch) for (const index of OF_THE_REQUEST) fields[index] = undefined;
  return lineOf(fields);
}

/** Places of fields in a line. */
const [OPERATION, STATUS, OBJECT_SIZE, VERSION] = [6, 9, 12, 17];
/** URI, times, referer and agent: each key of a batch has none of its own. */
const OF_THE_REQUEST = [8, 13, 14, 15, 16];

export interface LoggedRequest {
  /** Canonical id of the bucket's owner. */
  bucketOwner: string;
  bucket: string;
  key: string;
  /** When the request came, milliseconds since the epoch. */
  atMs: number;
  /** Canonical id; undefined: anonymous. */
  requester: string | undefined;
  /** Our name of the operation. */
  operation: string;
  request: Pick<
    RawRequest,
    'id' | 'method' | 'rawPath' | 'rawQuery' | 'headers' | 'remoteAddress' | 'secure' | 'tlsVersion'
  >;
  reply: Pick<RawReply, 'status' | 'headers'>;
  /** S3 error code. */
  code: string | undefined;
  sentBytes: number;
  /** Of the payload that came. */
  receivedBytes: number;
  totalMs: number;
  turnAroundMs: number;
}

/** Ends with a newline. */
export function accessLogLine(entry: LoggedRequest): string {
  return lineOf(fieldsOf(entry));
}

function fieldsOf(entry: LoggedRequest): (string | undefined)[] {
  const { request, reply, key } = entry;
  const { headers } = request;
  const target =
    request.rawQuery === ''
      ? request.rawPath
      : `${request.rawPath}?${redactKeys(request.rawQuery)}`;
  const auth = authOf(request);
  return [
    entry.bucketOwner,
    entry.bucket,
    `[${logTime(entry.atMs)}]`,
    plainAddress(request.remoteAddress),
    entry.requester,
    request.id.toUpperCase(),
    operationOf(entry.operation, request.method, key),
    key === '' ? undefined : encodeKey(key),
    quoted(`${request.method} ${target} HTTP/1.1`),
    String(reply.status),
    entry.code,
    entry.sentBytes === 0 ? undefined : String(entry.sentBytes),
    objectSize(entry),
    String(Math.round(entry.totalMs)),
    String(Math.round(entry.turnAroundMs)),
    quotedOrDash(headers['referer']),
    quotedOrDash(headers['user-agent']),
    versionOf(entry),
    textOf(reply.headers['x-amz-id-2']),
    auth.version,
    // Which cipher it was is not known here.
    undefined,
    auth.type,
    headers['host'],
    request.tlsVersion === undefined ? undefined : `TLSv${request.tlsVersion}`,
    undefined,
    undefined,
  ];
}

function lineOf(fields: readonly (string | undefined)[]): string {
  const texts = fields.map((field) => (field === undefined || field === '' ? '-' : oneLine(field)));
  return `${texts.join(' ')}\n`;
}

/* ------------------------------------------------------------------ fields */

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `06/Feb/2026:00:00:38 +0000`. */
function logTime(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${two(at.getUTCDate())}/${MONTHS[at.getUTCMonth()]}/${at.getUTCFullYear()}`;
  return `${day}:${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`;
}

function encodeKey(key: string): string {
  return encodeURIComponent(key).replaceAll('%2F', '/');
}

/** Clients choose these texts: a quote or a control character must not end a field or a line. */
function quoted(text: string): string {
  return `"${text.replaceAll('"', '%22')}"`;
}

function quotedOrDash(text: string | undefined): string {
  return text === undefined || text === '' ? '"-"' : quoted(text);
}

function oneLine(field: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return field.replace(/[\u0000-\u001f\u007f]/g, (character) => encodeURIComponent(character));
}

function textOf(value: string | number | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

function authOf({ headers, rawQuery }: LoggedRequest['request']): {
  version?: string;
  type?: string;
} {
  const header = headers['authorization'];
  if (header !== undefined) {
    return { version: header.startsWith('AWS4-') ? 'SigV4' : 'SigV2', type: 'AuthHeader' };
  }
  if (/(^|&)X-Amz-Signature=/i.test(rawQuery)) return { version: 'SigV4', type: 'QueryString' };
  if (/(^|&)Signature=/.test(rawQuery)) return { version: 'SigV2', type: 'QueryString' };
  return {};
}

function versionOf({ request, reply }: LoggedRequest): string | undefined {
  const named = /(?:^|&)versionId=([^&]*)/.exec(request.rawQuery)?.[1];
  return named ?? textOf(reply.headers['x-amz-version-id']);
}

const UPLOADS_OF_DATA: ReadonlySet<string> = new Set(['PutObject', 'PostObject', 'UploadPart']);
const READS_OF_DATA: ReadonlySet<string> = new Set(['GetObject', 'HeadObject', 'WebsiteVisit']);

function objectSize({ operation, reply, receivedBytes }: LoggedRequest): string | undefined {
  if (reply.status >= 300) return undefined;
  if (UPLOADS_OF_DATA.has(operation)) return String(receivedBytes);
  if (!READS_OF_DATA.has(operation)) return undefined;
  const range = textOf(reply.headers['Content-Range']);
  return range === undefined ? textOf(reply.headers['Content-Length']) : range.split('/')[1];
}

/* ------------------------------------------------------------------ operations */

/** What S3 calls the thing that an operation is about, where its name does not say so. */
const RESOURCES: Readonly<Record<string, string>> = {
  ListBuckets: 'SERVICE',
  ListObjectVersions: 'BUCKETVERSIONS',
  ListMultipartUploads: 'UPLOADS',
  CreateMultipartUpload: 'UPLOADS',
  UploadPart: 'PART',
  ListParts: 'UPLOAD',
  CompleteMultipartUpload: 'UPLOAD',
  AbortMultipartUpload: 'UPLOAD',
  DeleteObjects: 'MULTI_OBJECT_DELETE',
  PostObject: 'BUCKET',
  GetBucketLocation: 'LOCATION',
  GetObjectAttributes: 'OBJECT_ATTRIBUTES',
  BucketVersioning: 'VERSIONING',
  BucketTagging: 'TAGGING',
  ObjectTagging: 'OBJECT_TAGGING',
  BucketPolicy: 'BUCKETPOLICY',
  GetBucketPolicyStatus: 'BUCKETPOLICYSTATUS',
  BucketCors: 'CORS',
  ObjectLockConfiguration: 'OBJECT_LOCK',
  ObjectRetention: 'OBJECT_LOCK_RETENTION',
  ObjectLegalHold: 'OBJECT_LOCK_LEGALHOLD',
  BucketWebsite: 'WEBSITE',
  BucketNotificationConfiguration: 'NOTIFICATION',
  BucketReplication: 'REPLICATION',
  BucketLogging: 'LOGGING_STATUS',
  BucketLifecycle: 'LIFECYCLE',
  BucketLifecycleConfiguration: 'LIFECYCLE',
  BucketEncryption: 'ENCRYPTION',
  BucketOwnershipControls: 'OWNERSHIP_CONTROLS',
  PublicAccessBlock: 'PUBLIC_ACCESS_BLOCK',
  BucketRequestPayment: 'REQUEST_PAYMENT',
  BucketAcl: 'ACL',
  ObjectAcl: 'ACL',
};

/** `REST.GET.OBJECT` and the like. */
function operationOf(operation: string, method: string, key: string): string {
  if (operation === 'CopyObject') return 'REST.COPY.OBJECT';
  if (operation === 'UploadPartCopy') return 'REST.COPY.PART';
  if (operation === 'WebsiteVisit') return `WEBSITE.${method}.OBJECT`;
  if (operation === 'Preflight') return 'REST.OPTIONS.PREFLIGHT';
  const resource =
    RESOURCES[operation] ??
    RESOURCES[operation.replace(/^(Get|Put|Delete)/, '')] ??
    (key === '' ? 'BUCKET' : 'OBJECT');
  return `REST.${method}.${resource}`;
}
