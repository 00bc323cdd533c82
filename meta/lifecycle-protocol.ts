/**
 * Lifecycle rules, and what they make of versions and uploads: pure, so that the gateways promise in
 * `x-amz-expiration` what the metadata service does. Times are milliseconds since the epoch.
 *
 * Source: Amazon S3 User Guide, "Lifecycle configuration elements", "Lifecycle rules: how they
 * calculate", "Conflicts".
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { Failure } from '../base/failure.ts';
import type { Tag } from './protocol.ts';

/** The configuration of a bucket that holds its rules, as JSON. */
export const LIFECYCLE_CONFIG = 'lifecycle';
export const LIFECYCLE_RULES_MAX = 1000;
/** UTF-16 units. */
export const LIFECYCLE_ID_MAX = 255;
export const NEWER_NONCURRENT_MAX = 100;
export const DAY_MS = 86_400_000;

/** All of what is given must hold. */
export interface LifecycleCriteria {
  prefix?: string | undefined;
  tags?: Tag[] | undefined;
  /** Bytes, exclusive. */
  sizeGreater?: number | undefined;
  sizeLess?: number | undefined;
}

export interface LifecycleRule {
  id: string;
  enabled: boolean;
  /** Of rules in the old form, which have no filter. */
  prefix?: string | undefined;
  /** `and` as it was written; it means the same as criteria beside each other. */
  filter?: (LifecycleCriteria & { and?: LifecycleCriteria | undefined }) | undefined;
  expiration?: { days: number } | { dateMs: number } | { expiredMarker: boolean } | undefined;
  /** `newer`: so many newer noncurrent versions are kept, whatever their age. */
  noncurrent?: { days: number; newer?: number | undefined } | undefined;
  abortDays?: number | undefined;
}

export interface LifecycleConfiguration {
  rules: LifecycleRule[];
  /** Concerns transitions, of which there are none; kept as it was sent. */
  minimumTransitionSize?: string | undefined;
}

/** What rules look at. */
export interface LifecycleVersion {
  size: number;
  modifiedMs: number;
  tags?: Tag[] | undefined;
  marker?: true | undefined;
}

/* ------------------------------------------------------------------ matching */

/** Of rules that were looked at before: there may be a thousand of them for every key. */
const KNOWN = new WeakMap<LifecycleRule, readonly LifecycleCriteria[]>();

function criteriaOf(rule: LifecycleRule): readonly LifecycleCriteria[] {
  const known = KNOWN.get(rule);
  if (known !== undefined) return known;
  const { prefix, filter } = rule;
  const criteria: LifecycleCriteria[] = [];
  if (prefix !== undefined) criteria.push({ prefix });
  if (filter !== undefined) criteria.push(filter);
  if (filter?.and !== undefined) criteria.push(filter.and);
  KNOWN.set(rule, criteria);
  return criteria;
}

/** The longest prefix that every key of the rule has. Undefined: two that exclude each other. */
export function prefixOf(rule: LifecycleRule): string | undefined {
  let longest = '';
  for (const { prefix = '' } of criteriaOf(rule)) {
    if (prefix.startsWith(longest)) longest = prefix;
    else if (!longest.startsWith(prefix)) return undefined;
  }
  return longest;
}

/** Whether the rule looks at more than keys: then it does not concern markers and uploads. */
export function looksInside(rule: LifecycleRule): boolean {
  return criteriaOf(rule).some(
    ({ tags, sizeGreater, sizeLess }) =>
      (tags !== undefined && tags.length > 0) ||
      sizeGreater !== undefined ||
      sizeLess !== undefined,
  );
}

function matchesKey(rule: LifecycleRule, key: string): boolean {
  return criteriaOf(rule).every(({ prefix = '' }) => key.startsWith(prefix));
}

function matches(rule: LifecycleRule, key: string, version: LifecycleVersion): boolean {
  if (!rule.enabled || !matchesKey(rule, key)) return false;
  if (version.marker === true) return !looksInside(rule);
  return criteriaOf(rule).every(({ tags = [], sizeGreater, sizeLess }) => {
    if (sizeGreater !== undefined && version.size <= sizeGreater) return false;
    if (sizeLess !== undefined && version.size >= sizeLess) return false;
    return tags.every((tag) =>
      version.tags?.some(({ key: name, value }) => name === tag.key && value === tag.value),
    );
  });
}

/* ------------------------------------------------------------------ times */

/**
 * When so many days from `fromMs` have passed: at the midnight (UTC) after that, as on AWS. With a day
 * of another length, as tests set it, there is no midnight.
 */
export function daysLater(fromMs: number, days: number, dayMs: number): number {
  const end = fromMs + days * dayMs;
  return dayMs === DAY_MS ? (Math.floor(end / DAY_MS) + 1) * DAY_MS : end;
}

export interface Due {
  rule: LifecycleRule;
  atMs: number;
}

/** The earliest; of several at once the first rule. */
function earliest(dues: readonly Due[]): Due | undefined {
  let first: Due | undefined;
  for (const due of dues) if (first === undefined || due.atMs < first.atMs) first = due;
  return first;
}

/** When the current version, which is no marker, expires, and by which rule. */
export function expirationOf(
  rules: readonly LifecycleRule[],
  key: string,
  version: LifecycleVersion,
  dayMs = DAY_MS,
): Due | undefined {
  if (version.marker === true) return undefined;
  const dues: Due[] = [];
  for (const rule of rules) {
    const { expiration } = rule;
    if (expiration === undefined || !matches(rule, key, version)) continue;
    if ('dateMs' in expiration) dues.push({ rule, atMs: expiration.dateMs });
    else if ('days' in expiration) {
      dues.push({ rule, atMs: daysLater(version.modifiedMs, expiration.days, dayMs) });
    }
  }
  return earliest(dues);
}

/** When a delete marker goes that nothing is left below. */
export function markerExpirationOf(
  rules: readonly LifecycleRule[],
  key: string,
  marker: LifecycleVersion,
  dayMs = DAY_MS,
): Due | undefined {
  if (marker.marker !== true) return undefined;
  const dues: Due[] = [];
  for (const rule of rules) {
    const { expiration } = rule;
    if (expiration === undefined || !matches(rule, key, marker)) continue;
    if ('expiredMarker' in expiration) {
      if (expiration.expiredMarker) dues.push({ rule, atMs: marker.modifiedMs });
    } else if ('days' in expiration) {
      dues.push({ rule, atMs: daysLater(marker.modifiedMs, expiration.days, dayMs) });
    }
  }
  return earliest(dues);
}

/**
 * When a noncurrent version goes. `sinceMs`: when its successor was made; `newer`: noncurrent versions
 * that are newer, as far as they count (NEWER_NONCURRENT_MAX).
 */
export function noncurrentExpirationOf(
  rules: readonly LifecycleRule[],
  key: string,
  version: LifecycleVersion,
  { sinceMs, newer, dayMs = DAY_MS }: { sinceMs: number; newer: number; dayMs?: number },
): Due | undefined {
  const dues: Due[] = [];
  for (const rule of rules) {
    const { noncurrent } = rule;
    if (noncurrent === undefined || newer < (noncurrent.newer ?? 0)) continue;
    if (!matches(rule, key, version)) continue;
    dues.push({ rule, atMs: daysLater(sinceMs, noncurrent.days, dayMs) });
  }
  return earliest(dues);
}

/** When an upload that was begun at `createdMs` is aborted. */
export function abortOf(
  rules: readonly LifecycleRule[],
  key: string,
  createdMs: number,
  dayMs = DAY_MS,
): Due | undefined {
  const dues: Due[] = [];
  for (const rule of rules) {
    const { abortDays, enabled } = rule;
    if (abortDays === undefined || !enabled || looksInside(rule) || !matchesKey(rule, key))
      continue;
    dues.push({ rule, atMs: daysLater(createdMs, abortDays, dayMs) });
  }
  return earliest(dues);
}

/** How many newer noncurrent versions any of the rules wants to know of. */
export function newerWanted(rules: readonly LifecycleRule[]): number {
  return rules.reduce((most, { noncurrent }) => Math.max(most, noncurrent?.newer ?? 0), 0);
}

/** Prefixes that cover every key that a rule may concern, ascending by bytes, none within another. */
export function prefixesOf(rules: readonly LifecycleRule[]): string[] {
  const all = rules
    .filter(({ enabled }) => enabled)
    .map(prefixOf)
    .filter((prefix) => prefix !== undefined)
    .sort((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right)));
  const cover: string[] = [];
  for (const prefix of all) {
    const last = cover.at(-1);
    if (last === undefined || !prefix.startsWith(last)) cover.push(prefix);
  }
  return cover;
}

/* ------------------------------------------------------------------ storage */

/** Above this many characters rules are stored compressed: a thousand of them are mostly alike. */
const PLAIN_MAX = 16 * 1024;
const PACKED = 'deflate:';
/** More than the longest document that is read makes. */
const UNPACKED_BYTES_MAX = 16 * 1024 * 1024;

/** As stored: JSON, or `deflate:` and base64 of JSON. */
export function encodeLifecycle(configuration: LifecycleConfiguration): string {
  const json = JSON.stringify(configuration);
  if (json.length <= PLAIN_MAX) return json;
  return PACKED + deflateRawSync(json).toString('base64');
}

/** Of a text that `encodeLifecycle` made. Throws Failure `corrupt` for any other. */
export function decodeLifecycle(text: string): LifecycleConfiguration {
  try {
    const json = text.startsWith(PACKED)
      ? inflateRawSync(Buffer.from(text.slice(PACKED.length), 'base64'), {
          maxOutputLength: UNPACKED_BYTES_MAX,
        }).toString()
      : text;
    return JSON.parse(json) as LifecycleConfiguration;
  } catch (cause) {
    throw new Failure('corrupt', 'the lifecycle rules of a bucket', { cause });
  }
}
