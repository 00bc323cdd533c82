/** Object lock in headers: what an upload asks for, what a read shows, and who may delete all the same. */
import {
  OBJECT_LOCK_CONFIG,
  type ObjectLock,
  type ObjectLockConfiguration,
} from '../../meta/protocol.ts';
import type { BucketSettings } from './access/bucket-settings.ts';
import { S3Error } from './errors.ts';
import { parseIsoDate } from './http-date.ts';
import { parseChecksumHeader } from './ingest.ts';
import { invalidArgument } from './parameters.ts';
import type { HeaderMap, RawReply } from './request.ts';
import { timestamp } from './xml/writer.ts';

const MODE = 'x-amz-object-lock-mode';
const UNTIL = 'x-amz-object-lock-retain-until-date';
const LEGAL_HOLD = 'x-amz-object-lock-legal-hold';

/** Operations that take the headers of object lock. */
export const LOCKING_OPERATIONS: readonly string[] = [
  'PutObject',
  'CopyObject',
  'CreateMultipartUpload',
  'PostObject',
];

/** What the headers of an upload ask for; undefined for nothing. Throws InvalidArgument. */
export function parseLockHeaders(headers: HeaderMap): ObjectLock | undefined {
  const mode = headers[MODE];
  const until = headers[UNTIL];
  const hold = headers[LEGAL_HOLD];
  if (mode === undefined && until === undefined && hold === undefined) return undefined;
  const lock: ObjectLock = {};
  if (mode !== undefined || until !== undefined) {
    if (mode === undefined || until === undefined) {
      const missing = mode === undefined ? MODE : UNTIL;
      const message = `${UNTIL} and ${MODE} must both be supplied`;
      throw invalidArgument(missing, '', message);
    }
    if (mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') {
      throw invalidArgument(MODE, mode, 'Unknown wormMode directive.');
    }
    const untilMs = parseIsoDate(until);
    if (untilMs === undefined) {
      throw invalidArgument(
        UNTIL,
        until,
        'The retain until date must be provided in ISO 8601 format',
      );
    }
    lock.mode = mode;
    lock.untilMs = untilMs;
  }
  if (hold !== undefined) {
    if (hold !== 'ON' && hold !== 'OFF') {
      throw invalidArgument(LEGAL_HOLD, hold, "Legal Hold must be either of 'ON' or 'OFF'");
    }
    lock.legalHold = hold === 'ON';
  }
  return lock;
}

/**
 * Refuses what the commit would refuse, before content is taken in: InvalidRequest for a bucket
 * without object lock, InvalidArgument for a retention that has ended at `nowMs`.
 */
export function checkLockOfNew(
  lock: ObjectLock | undefined,
  settings: BucketSettings | undefined,
  nowMs: number,
): void {
  if (lock === undefined) return;
  if (settings !== undefined) requireLockConfiguration(settings);
  if (lock.untilMs === undefined || lock.untilMs > nowMs) return;
  const until = timestamp(lock.untilMs);
  throw invalidArgument(UNTIL, until, 'The retain until date must be in the future!');
}

/** Throws InvalidRequest for a bucket without object lock. */
export function requireLockConfiguration(settings: BucketSettings | undefined): void {
  if (settings?.bucket.configs.includes(OBJECT_LOCK_CONFIG) === true) return;
  throw new S3Error('InvalidRequest', { message: 'Bucket is missing Object Lock Configuration' });
}

/**
 * Uploads with a lock need a digest of their content, whether the lock is the request's or the
 * retention the bucket's default (AWS: PutObject, "Content-MD5"). Throws InvalidRequest.
 */
export function requireLockDigest(
  lock: ObjectLock | undefined,
  headers: HeaderMap,
  settings: BucketSettings | undefined,
): void {
  const locks =
    lock !== undefined ||
    settings?.parsed(OBJECT_LOCK_CONFIG, decodeLockConfiguration)?.retention !== undefined;
  if (!locks || hasBodyDigest(headers)) return;
  throw new S3Error('InvalidRequest', {
    message:
      'Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters',
  });
}

/** Whether the request carries a digest of its body, which is verified before anything happens. */
export function hasBodyDigest(headers: HeaderMap): boolean {
  return (
    headers['content-md5'] !== undefined ||
    parseChecksumHeader(headers) !== undefined ||
    headers['x-amz-trailer']?.toLowerCase().includes('x-amz-checksum-') === true
  );
}

/** Throws InvalidRequest for a document that came without a digest, where S3 wants one. */
export function requireBodyDigest(headers: HeaderMap): void {
  if (hasBodyDigest(headers)) return;
  throw new S3Error('InvalidRequest', {
    message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
  });
}

/** `x-amz-bypass-governance-retention`: that it may is decided with all other rights. */
export function bypassesGovernance(headers: HeaderMap): boolean {
  return headers['x-amz-bypass-governance-retention']?.toLowerCase() === 'true';
}

/** What reads show of a version's lock, also after its retention has ended. */
export function addLockHeaders(headers: RawReply['headers'], lock: ObjectLock | undefined): void {
  if (lock === undefined) return;
  if (lock.mode !== undefined && lock.untilMs !== undefined) {
    headers[MODE] = lock.mode;
    headers[UNTIL] = timestamp(lock.untilMs);
  }
  if (lock.legalHold !== undefined) headers[LEGAL_HOLD] = lock.legalHold ? 'ON' : 'OFF';
}

/** A bucket's object lock as the metadata service keeps it. */
export function encodeLockConfiguration(configuration: ObjectLockConfiguration): string {
  return JSON.stringify(configuration);
}

export function decodeLockConfiguration(text: string): ObjectLockConfiguration {
  return JSON.parse(text) as ObjectLockConfiguration;
}
