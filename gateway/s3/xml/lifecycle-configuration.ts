/**
 * The lifecycle rules of a bucket: body of PutBucketLifecycleConfiguration, answer of its reader. What
 * is read comes back in the form in which it was sent.
 *
 * Several criteria beside each other in a Filter are taken as if they stood in an And: AWS wants the
 * And, other servers and their clients do not, and it can mean nothing else.
 */
import { createHash } from 'node:crypto';
import type { Tag } from '../../../meta/protocol.ts';
import {
  DAY_MS,
  LIFECYCLE_ID_MAX,
  LIFECYCLE_RULES_MAX,
  type LifecycleCriteria,
  type LifecycleRule,
  looksInside,
  NEWER_NONCURRENT_MAX,
} from '../../../meta/lifecycle-protocol.ts';
import { S3Error } from '../errors.ts';
import { parseIsoDate } from '../http-date.ts';
import { checkTags } from '../tags.ts';
import {
  allowOnly,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';
import { document, element, text, timestamp } from './writer.ts';

const ROOT = 'LifecycleConfiguration';
const DAYS_MAX = 2 ** 31 - 1;
const SIZE_MAX = 5 * 1024 ** 4;

/* ------------------------------------------------------------------ writing */

export function lifecycleConfiguration(rules: readonly LifecycleRule[]): string {
  return document(ROOT, ...rules.map(ruleElement));
}

function ruleElement(rule: LifecycleRule): string {
  const { id, enabled, prefix, filter, expiration, noncurrent, abortDays } = rule;
  return element(
    'Rule',
    text('ID', id),
    text('Prefix', prefix),
    filter === undefined ? '' : filterElement(filter),
    text('Status', enabled ? 'Enabled' : 'Disabled'),
    expiration === undefined ? '' : expirationElement(expiration),
    noncurrent === undefined
      ? ''
      : element(
          'NoncurrentVersionExpiration',
          text('NoncurrentDays', noncurrent.days),
          text('NewerNoncurrentVersions', noncurrent.newer),
        ),
    abortDays === undefined
      ? ''
      : element('AbortIncompleteMultipartUpload', text('DaysAfterInitiation', abortDays)),
  );
}

function filterElement({ and, ...beside }: NonNullable<LifecycleRule['filter']>): string {
  const inner = and === undefined ? '' : element('And', criteriaElements(and));
  return element('Filter', criteriaElements(beside), inner);
}

function criteriaElements({ prefix, tags, sizeGreater, sizeLess }: LifecycleCriteria): string {
  let xml = text('Prefix', prefix);
  for (const { key, value } of tags ?? [])
    xml += element('Tag', text('Key', key), text('Value', value));
  return xml + text('ObjectSizeGreaterThan', sizeGreater) + text('ObjectSizeLessThan', sizeLess);
}

function expirationElement(expiration: NonNullable<LifecycleRule['expiration']>): string {
  if ('days' in expiration) return element('Expiration', text('Days', expiration.days));
  if ('dateMs' in expiration)
    return element('Expiration', text('Date', timestamp(expiration.dateMs)));
  return element('Expiration', text('ExpiredObjectDeleteMarker', String(expiration.expiredMarker)));
}

/* ------------------------------------------------------------------ reading */

/** What S3 has and Ashlar has not: there is no colder place to move anything to. */
const TRANSITIONS = ['Transition', 'NoncurrentVersionTransition'];

/**
 * The rules; one without an ID gets one that follows from what it says and where it stands. Throws
 * MalformedXML, InvalidArgument, InvalidRequest and, for transitions, NotImplemented.
 */
export function readLifecycleConfiguration(xml: string): LifecycleRule[] {
  const arrays = ['Rule', 'Tag', ...TRANSITIONS];
  const root = readXml(xml, { root: ROOT, arrays });
  allowOnly(root, ['Rule']);
  const nodes = childrenNamed(root, 'Rule');
  if (nodes.length === 0) throw malformedXml('at least one Rule is needed');
  if (nodes.length > LIFECYCLE_RULES_MAX) {
    throw malformedXml(`at most ${LIFECYCLE_RULES_MAX} rules`);
  }
  const rules = nodes.map(readRule);
  const ids = new Set<string>();
  for (const { id } of rules) {
    if (ids.has(id)) throw invalid('Rule ID must be unique. Found same ID for more than one rule');
    ids.add(id);
  }
  const moving = nodes.find((node) => TRANSITIONS.some((name) => childrenNamed(node, name)[0]));
  if (moving !== undefined) {
    throw new S3Error('NotImplemented', {
      message: 'Transitions to other storage classes are not implemented.',
      details: { Element: 'Transition' },
    });
  }
  return rules;
}

function readRule(node: XmlNode, index: number): LifecycleRule {
  allowOnly(node, [
    'ID',
    'Prefix',
    'Filter',
    'Status',
    'Expiration',
    'NoncurrentVersionExpiration',
    'AbortIncompleteMultipartUpload',
    ...TRANSITIONS,
  ]);
  const status = requiredText(node, 'Status').trim();
  if (status !== 'Enabled' && status !== 'Disabled') {
    throw malformedXml('Status must be Enabled or Disabled');
  }
  const id = childText(node, 'ID') ?? '';
  if (id.length > LIFECYCLE_ID_MAX) {
    throw invalid(`ID length should not exceed allowed limit of ${LIFECYCLE_ID_MAX}`);
  }
  const rule: LifecycleRule = { id, enabled: status === 'Enabled' };
  readScope(node, rule);
  readActions(node, rule);
  const moves = TRANSITIONS.flatMap((name) => childrenNamed(node, name));
  for (const move of moves) checkTransition(move);
  const acts =
    rule.expiration !== undefined || rule.noncurrent !== undefined || rule.abortDays !== undefined;
  if (!acts && moves.length === 0) {
    throw new S3Error('InvalidRequest', {
      message: 'At least one action needs to be specified in a rule',
    });
  }
  if (id === '') rule.id = idOf(rule, index);
  return rule;
}

function idOf(rule: LifecycleRule, index: number): string {
  const text = `${index} ${JSON.stringify(rule)}`;
  return createHash('sha256').update(text).digest('base64url');
}

function readScope(node: XmlNode, rule: LifecycleRule): void {
  const prefix = childText(node, 'Prefix');
  const [filter] = childrenNamed(node, 'Filter');
  if ((prefix === undefined) === (filter === undefined)) {
    throw malformedXml('a Rule needs either Filter or Prefix');
  }
  if (prefix !== undefined) {
    rule.prefix = checkedPrefix(prefix);
    return;
  }
  if (filter === undefined) return;
  if (filter.text.trim() !== '') throw malformedXml('Filter must hold elements');
  rule.filter = readCriteria(filter, ['And']);
  const [and] = childrenNamed(filter, 'And');
  if (and !== undefined) rule.filter.and = readCriteria(and, []);
}

function checkedPrefix(prefix: string): string {
  if (Buffer.byteLength(prefix) <= 1024) return prefix;
  throw new S3Error('InvalidRequest', {
    message: 'The maximum size of a prefix is 1024.',
  });
}

function readCriteria(
  node: XmlNode,
  also: readonly string[],
): NonNullable<LifecycleRule['filter']> {
  allowOnly(node, ['Prefix', 'Tag', 'ObjectSizeGreaterThan', 'ObjectSizeLessThan', ...also]);
  const criteria: LifecycleCriteria = {};
  const prefix = childText(node, 'Prefix');
  if (prefix !== undefined) criteria.prefix = checkedPrefix(prefix);
  const tags = childrenNamed(node, 'Tag').map(readTag);
  if (tags.length > 0) {
    checkTags(tags, 'object');
    criteria.tags = tags;
  }
  const sizeGreater = readNumber(node, 'ObjectSizeGreaterThan', 0, SIZE_MAX);
  if (sizeGreater !== undefined) criteria.sizeGreater = sizeGreater;
  const sizeLess = readNumber(node, 'ObjectSizeLessThan', 1, SIZE_MAX);
  if (sizeLess !== undefined) criteria.sizeLess = sizeLess;
  if (sizeGreater !== undefined && sizeLess !== undefined && sizeGreater >= sizeLess) {
    throw new S3Error('InvalidRequest', {
      message: "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
    });
  }
  return criteria;
}

function readTag(node: XmlNode): Tag {
  allowOnly(node, ['Key', 'Value']);
  return { key: requiredText(node, 'Key'), value: requiredText(node, 'Value') };
}

/* ------------------------------------------------------------------ actions */

function readActions(node: XmlNode, rule: LifecycleRule): void {
  const [expiration] = childrenNamed(node, 'Expiration');
  if (expiration !== undefined) rule.expiration = readExpiration(expiration);
  const [noncurrent] = childrenNamed(node, 'NoncurrentVersionExpiration');
  if (noncurrent !== undefined) rule.noncurrent = readNoncurrent(noncurrent);
  const [abort] = childrenNamed(node, 'AbortIncompleteMultipartUpload');
  if (abort !== undefined) {
    allowOnly(abort, ['DaysAfterInitiation']);
    rule.abortDays = required(abort, 'DaysAfterInitiation', readDays(abort, 'DaysAfterInitiation'));
  }
  if (!looksInside(rule)) return;
  if (rule.abortDays !== undefined) {
    throw new S3Error('InvalidRequest', {
      message: 'AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes.',
    });
  }
  if (rule.expiration !== undefined && 'expiredMarker' in rule.expiration) {
    throw new S3Error('InvalidRequest', {
      message: 'ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes.',
    });
  }
}

function readExpiration(node: XmlNode): NonNullable<LifecycleRule['expiration']> {
  allowOnly(node, ['Days', 'Date', 'ExpiredObjectDeleteMarker']);
  if (node.children.length !== 1) {
    throw malformedXml('Expiration needs one of Days, Date and ExpiredObjectDeleteMarker');
  }
  const days = readDays(node, 'Days');
  if (days !== undefined) return { days };
  const dateMs = readDate(node);
  if (dateMs !== undefined) return { dateMs };
  const marker = requiredText(node, 'ExpiredObjectDeleteMarker').trim();
  if (marker !== 'true' && marker !== 'false') {
    throw malformedXml('ExpiredObjectDeleteMarker must be true or false');
  }
  return { expiredMarker: marker === 'true' };
}

function readNoncurrent(node: XmlNode): NonNullable<LifecycleRule['noncurrent']> {
  allowOnly(node, ['NoncurrentDays', 'NewerNoncurrentVersions']);
  const days = required(node, 'NoncurrentDays', readDays(node, 'NoncurrentDays'));
  const newer = readNumber(node, 'NewerNoncurrentVersions', 1, NEWER_NONCURRENT_MAX);
  return newer === undefined ? { days } : { days, newer };
}

/** Read and checked although it is refused: what is wrong with it comes first. */
function checkTransition(node: XmlNode): void {
  allowOnly(node, ['Date', 'Days', 'StorageClass', 'NoncurrentDays', 'NewerNoncurrentVersions']);
  requiredText(node, 'StorageClass');
  readDate(node);
  readNumber(node, 'Days', 0, DAYS_MAX);
  readNumber(node, 'NoncurrentDays', 0, DAYS_MAX);
  readNumber(node, 'NewerNoncurrentVersions', 1, NEWER_NONCURRENT_MAX);
}

function required<T>(node: XmlNode, name: string, value: T | undefined): T {
  if (value === undefined) throw malformedXml(`${node.name} needs ${name}`);
  return value;
}

function readDays(node: XmlNode, name: string): number | undefined {
  return readNumber(node, name, 1, DAYS_MAX);
}

/** Throws MalformedXML for what is no number, InvalidArgument for one out of bounds. */
function readNumber(node: XmlNode, name: string, min: number, max: number): number | undefined {
  const value = childText(node, name)?.trim();
  if (value === undefined) return undefined;
  if (!/^-?[0-9]{1,15}$/.test(value)) throw malformedXml(`${name} must be a number`);
  const number = Number(value);
  if (number >= min && number <= max) return number;
  throw invalid(`'${name}' must be a whole number from ${min} to ${max}`);
}

/** Only days count: a time within one would be rounded. */
function readDate(node: XmlNode): number | undefined {
  const value = childText(node, 'Date')?.trim();
  if (value === undefined) return undefined;
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(value) ? Date.parse(value) : parseIsoDate(value);
  if (ms === undefined || Number.isNaN(ms)) throw malformedXml('Date must be a date of ISO 8601');
  if (ms % DAY_MS === 0) return ms;
  throw invalid("'Date' must be at midnight GMT");
}

function invalid(message: string): S3Error {
  return new S3Error('InvalidArgument', { message });
}
