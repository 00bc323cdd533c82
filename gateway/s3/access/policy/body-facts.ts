/**
 * What policies may ask about the body of a request. The three operations whose bodies have condition
 * keys are small; theirs is read before the request is judged, and only if the policy asks for it.
 */
import { readLegalHold } from '../../xml/legal-hold.ts';
import { readRetention } from '../../xml/retention.ts';
import { readTagging } from '../../xml/tagging.ts';
import type { BucketPolicy } from './policy.ts';
import type { BodyFacts } from './request-facts.ts';

interface Reader {
  keys: readonly string[];
  read(xml: string): BodyFacts;
}

const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  [
    'PutObjectTagging',
    {
      keys: ['s3:requestobjecttag/', 's3:requestobjecttagkeys'],
      read: (xml) => ({ tags: readTagging(xml) }),
    },
  ],
  [
    'PutObjectRetention',
    {
      keys: [
        's3:object-lock-mode',
        's3:object-lock-remaining-retention-days',
        's3:object-lock-retain-until-date',
      ],
      read(xml) {
        const { mode, untilMs } = readRetention(xml);
        return { lockMode: mode, retainUntilMs: untilMs };
      },
    },
  ],
  [
    'PutObjectLegalHold',
    {
      keys: ['s3:object-lock-legal-hold'],
      read: (xml) => ({ legalHold: readLegalHold(xml) ? 'ON' : 'OFF' }),
    },
  ],
]);

/** Whether the policy asks for what the body of this operation says. */
export function readsBody(policy: BucketPolicy, operation: string): boolean {
  return READERS.get(operation)?.keys.some((key) => policy.keys.has(key)) === true;
}

/** Throws MalformedXML, as the operation itself would. */
export function bodyFacts(operation: string, xml: string): BodyFacts | undefined {
  return xml === '' ? undefined : READERS.get(operation)?.read(xml);
}
