/** The answer of GetBucketVersioning: empty for a bucket that never had versioning. */
import { document } from './writer.ts';

export function versioningConfiguration(): string {
  return document('VersioningConfiguration');
}
