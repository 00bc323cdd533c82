/** What lifecycle rules say in the headers of replies: when something goes, and by which rule. */
import {
  abortOf,
  decodeLifecycle,
  expirationOf,
  LIFECYCLE_CONFIG,
  type LifecycleConfiguration,
  type LifecycleVersion,
} from '../../meta/lifecycle-protocol.ts';
import type { BucketSettings } from './access/bucket-settings.ts';
import { formatHttpDate } from './http-date.ts';
import type { Context } from './operation.ts';
import { invalidArgument } from './parameters.ts';
import type { RawReply } from './request.ts';

export const TRANSITION_SIZE = 'x-amz-transition-default-minimum-object-size';
export const STANDARD_TRANSITION_SIZE = 'all_storage_classes_128K';
const TRANSITION_SIZES = [STANDARD_TRANSITION_SIZE, 'varies_by_storage_class'];

/** The header of that name; kept, for there are no transitions that it could change. */
export function parseTransitionSize(value: string | undefined): string | undefined {
  if (value === undefined || TRANSITION_SIZES.includes(value)) return value;
  throw invalidArgument(TRANSITION_SIZE, value);
}

function rulesOf(settings: BucketSettings | undefined): LifecycleConfiguration['rules'] {
  return settings?.parsed(LIFECYCLE_CONFIG, decodeLifecycle)?.rules ?? [];
}

/** Whether the bucket has rules, as last seen. */
function hasLifecycle(settings: BucketSettings | undefined): boolean {
  return settings?.bucket.configs.includes(LIFECYCLE_CONFIG) === true;
}

/**
 * `x-amz-expiration` of the current version of a key: `expiry-date="…", rule-id="…"`, the id
 * percent-encoded as on AWS. Undefined when no rule concerns it.
 */
export function expirationHeader(
  settings: BucketSettings | undefined,
  key: string,
  version: LifecycleVersion,
): string | undefined {
  const due = expirationOf(rulesOf(settings), key, version);
  if (due === undefined) return undefined;
  return `expiry-date="${formatHttpDate(due.atMs)}", rule-id="${encodeURIComponent(due.rule.id)}"`;
}

/** The same, into the headers of a reply. */
export function addExpiration(
  headers: RawReply['headers'],
  settings: BucketSettings | undefined,
  key: string,
  version: LifecycleVersion,
): void {
  const header = expirationHeader(settings, key, version);
  if (header !== undefined) headers['x-amz-expiration'] = header;
}

/**
 * The same for the version that a step has just made the current one, by the tags and the size that
 * it took on: asked for only where there are rules. What was stored is stored, whatever becomes of this
 * question: without an answer there is no header.
 */
export async function expirationOfStored(
  { bucket, key }: { bucket: string; key: string },
  { version }: { version: string },
  context: Context,
): Promise<string | undefined> {
  if (!hasLifecycle(context.settings)) return undefined;
  const found = await context.meta
    .getObject({ bucket, key }, { signal: context.signal })
    .catch(() => undefined);
  if (found?.ok !== true || found.value.object.version !== version) return undefined;
  return expirationHeader(context.settings, key, found.value.object);
}

/** `x-amz-abort-date` and `x-amz-abort-rule-id` of an upload; none when no rule concerns it. */
export function abortHeaders(
  settings: BucketSettings | undefined,
  { key, createdMs }: { key: string; createdMs: number },
): Record<string, string> {
  const due = abortOf(rulesOf(settings), key, createdMs);
  if (due === undefined) return {};
  return {
    'x-amz-abort-date': formatHttpDate(due.atMs),
    'x-amz-abort-rule-id': encodeURIComponent(due.rule.id),
  };
}
