/**
 * Whether a bucket policy is public, as policy status and public access block understand it.
 *
 * Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of
 * public": an Allow is public unless it is for named principals, or bound by a condition to fixed
 * values of one of some keys. Deny statements change nothing of that.
 */
import { parseCidr, ValueError } from './operators.ts';
import type { BucketPolicy, Condition, Statement } from './policy.ts';

export function isPublic(policy: BucketPolicy): boolean {
  return policy.statements.some(isPublicStatement);
}

function isPublicStatement({ effect, principals, conditions }: Statement): boolean {
  return (
    effect === 'Allow' &&
    principals.some(({ kind }) => kind === 'everyone') &&
    !conditions.some(bindsToFew)
  );
}

/** Keys whose fixed values say who asks, or from where. */
const BINDING: ReadonlySet<string> = new Set([
  'aws:principalaccount',
  'aws:principalarn',
  'aws:principalorgid',
  'aws:principalorgpaths',
  'aws:sourceaccount',
  'aws:sourcearn',
  'aws:sourceip',
  'aws:sourceorgid',
  'aws:sourceorgpaths',
  'aws:sourceowner',
  'aws:sourcevpc',
  'aws:sourcevpce',
  'aws:userid',
  's3:dataaccesspointaccount',
  's3:dataaccesspointarn',
  's3:x-amz-server-side-encryption-aws-kms-key-id',
]);

const EXACT: ReadonlySet<string> = new Set(['StringEquals', 'StringEqualsIgnoreCase']);
const LIKE: ReadonlySet<string> = new Set(['StringLike', 'ArnEquals', 'ArnLike']);

/** With IfExists or ForAllValues a request without the key passes, too. */
function bindsToFew({ operator, set, ifExists, key, values }: Condition): boolean {
  if (ifExists || set === 'ForAllValues' || !BINDING.has(key)) return false;
  if (operator === 'IpAddress') return key === 'aws:sourceip' && values.every(isNarrow);
  if (key === 'aws:sourceip' || !values.every((value) => !value.includes('${'))) return false;
  if (EXACT.has(operator)) return true;
  if (!LIKE.has(operator)) return false;
  return values.every((value) => isFixedValue(key, value));
}

function isFixedValue(key: string, value: string): boolean {
  // The name of an access point may be open as long as its account is not.
  const relevant = key === 's3:dataaccesspointarn' ? value.split(':').slice(0, 5).join(':') : value;
  return !/[*?]/.test(relevant);
}

/** Ranges that no more than a large organization has. */
const IPV4_BITS_MIN = 8;
const IPV6_BITS_MIN = 32;

function isNarrow(value: string): boolean {
  try {
    const { family, prefix } = parseCidr(value);
    return prefix >= (family === 'ipv4' ? IPV4_BITS_MIN : IPV6_BITS_MIN);
  } catch (error) {
    if (error instanceof ValueError) return false;
    throw error;
  }
}
