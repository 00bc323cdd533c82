/** The answer of GetBucketLocation. */
import { document, escapeXml } from './writer.ts';

/** The region that S3 writes as nothing at all. */
export const CLASSIC_REGION = 'us-east-1';

export function locationConstraint(region: string): string {
  return document('LocationConstraint', region === CLASSIC_REGION ? '' : escapeXml(region));
}
