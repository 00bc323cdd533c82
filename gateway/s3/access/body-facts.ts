/** What the body of a request says that a policy may ask about. */
import { parseHttpDate } from '../http-date.ts';
import type { OperationName } from '../operation.ts';
import { childText, readXml } from '../xml/reader.ts';
import { readTagging } from '../xml/tagging.ts';
import { S3Error } from '../errors.ts';
import type { BucketPolicy } from './policy/policy.ts';
import type { BodyFacts } from './policy/request-facts.ts';

const LOCK_KEYS = [
  's3:object-lock-mode',
  's3:object-lock-remaining-retention-days',
  's3:object-lock-retain-until-date',
];

/** Condition keys whose values are in the body of these operations. */
const IN_BODY: Partial<Record<string, readonly string[]>> = {
  PutObjectTagging: ['s3:requestobjecttag/', 's3:requestobjecttagkeys'],
  PutObjectRetention: LOCK_KEYS,
  PutObjectLegalHold: ['s3:object-lock-legal-hold'],
} satisfies Partial<Record<OperationName, readonly string[]>>;

/** Whether the policy cannot be evaluated before the body has been read. */
export function asksForBody(policy: BucketPolicy, operation: string): boolean {
  return IN_BODY[operation]?.some((key) => policy.keys.has(key)) === true;
}

/** Nothing of a body that is not well-formed: the operation refuses it, if the policy has not. */
export function bodyFacts(operation: string, xml: string): BodyFacts {
  try {
    return read(operation, xml);
  } catch (error) {
    if (error instanceof S3Error) return {};
    throw error;
  }
}

function read(operation: string, xml: string): BodyFacts {
  switch (operation) {
    case 'PutObjectTagging':
      return { tags: readTagging(xml) };
    case 'PutObjectRetention': {
      const root = readXml(xml, { root: 'Retention', arrays: [] });
      const until = childText(root, 'RetainUntilDate');
      const untilMs =
        until === undefined ? Number.NaN : (parseHttpDate(until) ?? Date.parse(until));
      return {
        lockMode: childText(root, 'Mode'),
        ...(Number.isNaN(untilMs) ? {} : { retainUntilMs: untilMs }),
      };
    }
    case 'PutObjectLegalHold':
      return { legalHold: childText(readXml(xml, { root: 'LegalHold', arrays: [] }), 'Status') };
    default:
      return {};
  }
}
