/** Version ids in requests and replies. Those that Ashlar gives are 32 hex digits, or `null`. */
import { type Bucket, NULL_VERSION, type ObjectRecord } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import type { QueryParameters } from './operation.ts';

const PATTERN = /^[A-Za-z0-9._-]{1,1024}$/;

/**
 * A version id that a client names, as given; `undefined` names the current version. One that was
 * never given out names no version. Throws InvalidArgument for what can be no version id.
 */
export function checkedVersionId(versionId: string | undefined): string | undefined {
  if (versionId === undefined || PATTERN.test(versionId)) return versionId;
  throw new S3Error('InvalidArgument', {
    message: 'Invalid version id specified',
    details: { ArgumentName: 'versionId', ArgumentValue: versionId },
  });
}

/** `versionId`. Throws InvalidArgument. */
export function versionIdParameter(query: QueryParameters): string | undefined {
  return checkedVersionId(query.get('versionId'));
}

/** The id that replies show: none in a bucket that never had versioning. */
export function shownVersionId(
  { versioning }: Pick<Bucket, 'versioning'>,
  { named, version }: Pick<ObjectRecord, 'named' | 'version'>,
): string | undefined {
  if (versioning === undefined) return undefined;
  return named === true ? version : NULL_VERSION;
}

/** The id that a write answers: a version that goes by `null` is not named then, as on AWS. */
export function writtenVersionId({
  versionId,
}: {
  versionId?: string | undefined;
}): string | undefined {
  return versionId === NULL_VERSION ? undefined : versionId;
}
