/** Version ids in requests, while buckets keep one version per key: it goes by `null`. */
import { S3Error } from './errors.ts';

const PATTERN = /^[A-Za-z0-9._-]{1,1024}$/;

/**
 * Whether the named version is the one there is: `undefined` (the current one) or `null`. False for
 * an id that could exist but does not. Throws InvalidArgument for what can be no version id.
 */
export function namesCurrentVersion(versionId: string | undefined): boolean {
  if (versionId === undefined || versionId === 'null') return true;
  if (PATTERN.test(versionId)) return false;
  throw new S3Error('InvalidArgument', {
    message: 'Invalid version id specified',
    details: { ArgumentName: 'versionId', ArgumentValue: versionId },
  });
}

/** Throws NoSuchVersion unless the id names the current version. */
export function requireCurrentVersion(versionId: string | undefined, key: string): void {
  if (namesCurrentVersion(versionId)) return;
  throw new S3Error('NoSuchVersion', { details: { Key: key, VersionId: versionId ?? '' } });
}
