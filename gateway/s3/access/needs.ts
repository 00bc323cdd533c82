/**
 * What a request must be allowed to do: one or more actions on resources, from the request alone.
 * `authorize.ts` asks policies and ACLs for each of them; all must be allowed.
 *
 * Source: "Required permissions for Amazon S3 API operations", Amazon S3 User Guide.
 */
import { parseCopySource } from '../copy-source.ts';
import { bypassesGovernance } from '../object-lock.ts';
import type { QueryParameters } from '../operation.ts';
import { parseRenameSource } from '../rename-source.ts';
import type { HeaderMap } from '../request.ts';
import type { AccessNeed } from './access-need.ts';

export type { AccessNeed } from './access-need.ts';

/** What of a request tells which rights it needs. Headers include those hoisted from the query. */
export interface NeedRequest {
  bucket: string;
  key: string;
  query: QueryParameters;
  headers: HeaderMap;
}

/** Actions that have another name when the request names a version (`null`, too). */
const OF_VERSIONS: ReadonlyMap<string, string> = new Map(
  [
    's3:GetObject',
    's3:GetObjectAcl',
    's3:GetObjectAttributes',
    's3:GetObjectTagging',
    's3:GetObjectTorrent',
    's3:PutObjectAcl',
    's3:PutObjectTagging',
    's3:DeleteObject',
    's3:DeleteObjectTagging',
  ].map((action) => [action, action.replace('Object', 'ObjectVersion')]),
);

/** Operations that make an object with everything that its headers say. */
const WRITERS: ReadonlySet<string> = new Set([
  'PutObject',
  'PostObject',
  'CopyObject',
  'CreateMultipartUpload',
]);

/** Operations that read another object. */
const COPIES: ReadonlySet<string> = new Set(['CopyObject', 'UploadPartCopy']);

/** Operations that may overrule a retention in governance mode. */
const BYPASSES: ReadonlySet<string> = new Set(['DeleteObject', 'PutObjectRetention']);

/**
 * Everything that a request must be allowed to do, its own action first. An operation that is not
 * special needs its `permission` on what it is addressed to, in its variant for versions when the
 * query names one. `per-object` for DeleteObjects: its keys are in the body, and each is allowed or
 * denied by itself (`deleteNeeds`).
 *
 * Throws InvalidArgument for a copy source that is none.
 */
export function requiredAccess(
  operation: { name: string; permission: string },
  request: NeedRequest,
): readonly AccessNeed[] | 'per-object' {
  const { name, permission } = operation;
  const { bucket, key, query, headers } = request;
  if (name === 'DeleteObjects') return 'per-object';
  const versionId = key === '' ? undefined : query.get('versionId');
  const action = versionId === undefined ? permission : (OF_VERSIONS.get(permission) ?? permission);
  const first: AccessNeed = { action, bucket, key, versionId };
  const extra: string[] = [];
  if (name === 'GetObjectAttributes') {
    extra.push(versionId === undefined ? 's3:GetObject' : 's3:GetObjectVersion');
  }
  if (WRITERS.has(name)) extra.push(...writerActions(name, headers));
  if (name === 'CreateBucket') extra.push(...bucketActions(headers));
  if (BYPASSES.has(name) && bypassesGovernance(headers)) {
    extra.push('s3:BypassGovernanceRetention');
  }
  if (headers['x-amz-replication-status'] !== undefined) extra.push(replicaAction(name));
  const needs = [first, ...extra.map((other) => ({ ...first, action: other }))];
  // What was under the old key is read, and gone afterwards.
  if (name === 'RenameObject') {
    const old = { ...first, key: parseRenameSource(headers, bucket) };
    needs.push({ ...old, action: 's3:GetObject' }, { ...old, action: 's3:DeleteObject' });
  }
  const source = COPIES.has(name) ? headers['x-amz-copy-source'] : undefined;
  if (source !== undefined) needs.push(sourceNeed(source));
  return needs;
}

/** What one key of a DeleteObjects needs, and what DeleteObject needs. */
export function deleteNeeds(
  bucket: string,
  object: { key: string; versionId?: string | undefined },
  bypassGovernance: boolean,
): AccessNeed[] {
  const { key, versionId } = object;
  const action = versionId === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion';
  const need = { action, bucket, key, versionId };
  return bypassGovernance ? [need, { ...need, action: 's3:BypassGovernanceRetention' }] : [need];
}

/**
 * The right without which nobody is told that a key is not there: GET, HEAD and the source of a copy
 * then answer AccessDenied instead of NoSuchKey. Judged as a listing with the key as its prefix.
 */
export function missingKeyNeed({ bucket, key }: { bucket: string; key: string }): AccessNeed {
  return { action: 's3:ListBucket', bucket, key: '', versionId: undefined, prefix: key };
}

/** `arn:aws:s3:::bucket/key` of a need; `*` for the service. */
export function resourceArn({ bucket, key }: { bucket: string; key: string }): string {
  if (bucket === '') return '*';
  return key === '' ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`;
}

/** Who writes replicas (`x-amz-replication-status: REPLICA`) needs the right to. */
function replicaAction(name: string): string {
  if (name === 'DeleteObject') return 's3:ReplicateDelete';
  return name.includes('Tagging') ? 's3:ReplicateTags' : 's3:ReplicateObject';
}

function writerActions(name: string, headers: HeaderMap): string[] {
  const actions: string[] = [];
  const taken = name === 'CopyObject' && headers['x-amz-tagging-directive'] !== 'REPLACE';
  if (!taken && (headers['x-amz-tagging'] ?? '') !== '') actions.push('s3:PutObjectTagging');
  if (hasAcl(headers)) actions.push('s3:PutObjectAcl');
  if (
    headers['x-amz-object-lock-mode'] !== undefined ||
    headers['x-amz-object-lock-retain-until-date'] !== undefined
  ) {
    actions.push('s3:PutObjectRetention');
  }
  if (headers['x-amz-object-lock-legal-hold'] !== undefined) actions.push('s3:PutObjectLegalHold');
  return actions;
}

function bucketActions(headers: HeaderMap): string[] {
  const actions: string[] = [];
  if (hasAcl(headers)) actions.push('s3:PutBucketAcl');
  if (headers['x-amz-bucket-object-lock-enabled']?.toLowerCase() === 'true') {
    actions.push('s3:PutBucketObjectLockConfiguration', 's3:PutBucketVersioning');
  }
  if (headers['x-amz-object-ownership'] !== undefined) {
    actions.push('s3:PutBucketOwnershipControls');
  }
  return actions;
}

function hasAcl(headers: HeaderMap): boolean {
  if (headers['x-amz-acl'] !== undefined) return true;
  for (const name in headers) {
    if (name.startsWith('x-amz-grant-') && headers[name] !== undefined) return true;
  }
  return false;
}

function sourceNeed(header: string): AccessNeed {
  const { bucket, key, versionId } = parseCopySource(header);
  const action = versionId === undefined ? 's3:GetObject' : 's3:GetObjectVersion';
  return { action, bucket, key, versionId };
}
