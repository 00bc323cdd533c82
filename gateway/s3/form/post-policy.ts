/**
 * The policy of a form upload: until when, and with which fields, a form may be posted
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html). Pure.
 *
 * Names of fields and of operators are taken in any case, `expiration` and `conditions` only as they
 * are written here; what S3 does not know in a policy is refused.
 */
import { S3Error } from '../errors.ts';

type Condition =
  | { operator: 'eq' | 'starts-with'; field: string; value: string; text: string }
  | { operator: 'content-length-range'; min: number; max: number };

export interface PostPolicy {
  /** Milliseconds since the epoch. */
  expiresMs: number;
  conditions: readonly Condition[];
}

/** Bytes that the file may have, both ends included. */
export interface SizeRange {
  min: number;
  max: number;
}

/** Reads a policy document as the form carries it: base64 of JSON. Throws InvalidPolicyDocument. */
export function parsePostPolicy(encoded: string): PostPolicy {
  const document = readJson(encoded);
  if (!isObject(document)) throw invalid('the document must be an object.');
  for (const name of Object.keys(document)) {
    if (name !== 'expiration' && name !== 'conditions') throw invalid(`Unexpected: '${name}'`);
  }
  const { expiration, conditions } = document;
  if (expiration === undefined) throw invalid('Policy missing expiration.');
  if (conditions === undefined) throw invalid('Policy missing conditions.');
  if (!Array.isArray(conditions)) throw invalid('Policy conditions must be a list.');
  return { expiresMs: parseExpiration(expiration), conditions: conditions.map(parseCondition) };
}

const BASE64 = /^[A-Za-z0-9+/]*=*$/;
const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

function readJson(encoded: string): unknown {
  if (!BASE64.test(encoded.replace(/\s+/g, ''))) throw invalid('it is not base64.');
  try {
    const text = strictUtf8.decode(Buffer.from(encoded, 'base64'));
    return JSON.parse(plainJson(text)) as unknown;
  } catch {
    throw invalid('Invalid JSON.');
  }
}

/**
 * What S3 takes beyond JSON: `\$` is a dollar sign, and a comma may stand behind the last item (both
 * are in AWS's own examples). A text that does not end goes to the end, so that nothing is looked at
 * twice; it is no JSON anyway.
 */
function plainJson(text: string): string {
  return text.replace(/"(?:[^"\\]|\\.)*(?:"|$)|,(?=\s*[\]}])/gs, (found) =>
    found === ',' ? '' : found.replace(/\\(.)/gs, (escape, one) => (one === '$' ? '$' : escape)),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const ISO_8601 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;

function parseExpiration(value: unknown): number {
  const ms = typeof value === 'string' && ISO_8601.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid(`Invalid 'expiration' value: '${shown(value)}'`);
  return ms;
}

function parseCondition(condition: unknown): Condition {
  if (isObject(condition)) return parseSimple(condition);
  if (!Array.isArray(condition)) throw invalid('Invalid Condition: it is no object and no list.');
  if (condition.length !== 3) {
    throw invalid(`Invalid Condition: wrong number of arguments in ${shown(condition)}`);
  }
  const [operator, first, second] = condition as [unknown, unknown, unknown];
  const name = typeof operator === 'string' ? operator.toLowerCase() : '';
  if (name === 'content-length-range') return parseRange(first, second);
  if (name !== 'eq' && name !== 'starts-with') {
    throw invalid(`Invalid Condition: unknown operation in ${shown(condition)}`);
  }
  if (typeof first !== 'string' || !first.startsWith('$') || typeof second !== 'string') {
    throw invalid(`Invalid Condition: ${shown(condition)} needs a $field and a value`);
  }
  return {
    operator: name,
    field: first.slice(1).toLowerCase(),
    value: second,
    text: shown([name, first, second]),
  };
}

function parseSimple(condition: Record<string, unknown>): Condition {
  const [entry, ...more] = Object.entries(condition);
  if (entry === undefined || more.length > 0) {
    throw invalid(
      'Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.',
    );
  }
  const [field, value] = entry;
  if (typeof value !== 'string') {
    throw invalid(`Invalid Simple-Condition: the value of ${field} must be text.`);
  }
  return {
    operator: 'eq',
    field: field.toLowerCase(),
    value,
    text: shown(['eq', `$${field}`, value]),
  };
}

function parseRange(min: unknown, max: unknown): Condition {
  const range = { min: parseSize(min), max: parseSize(max) };
  if (range.min > range.max) throw invalid('Invalid content-length-range: it is empty.');
  return { operator: 'content-length-range', ...range };
}

function parseSize(value: unknown): number {
  const size = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof size === 'number' && Number.isSafeInteger(size) && size >= 0) return size;
  throw invalid(`Invalid content-length-range: ${shown(value)} is no size.`);
}

const SHOWN_CHARACTERS_MAX = 200;
const shown = (value: unknown): string =>
  (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, SHOWN_CHARACTERS_MAX);

function invalid(reason: string): S3Error {
  return new S3Error('InvalidPolicyDocument', { message: `Invalid Policy: ${reason}` });
}

/** Fields that need no condition: those of the signature, and the file, which has no value. */
const FREE_FIELDS: ReadonlySet<string> = new Set([
  'policy',
  'signature',
  'awsaccesskeyid',
  'x-amz-signature',
  'file',
]);

/** `x-ignore-` as on AWS. A checksum only narrows what may be uploaded, so it needs no condition. */
const FREE_PREFIXES: readonly string[] = ['x-ignore-', 'x-amz-checksum-'];

/** Conditions on these take a list of values in the field: each must meet the condition. */
const LIST_FIELDS: ReadonlySet<string> = new Set(['content-type']);

/**
 * Holds a form against its policy. `fields` are all fields by their name in lower case, and `bucket`.
 * Throws AccessDenied; what is returned is to be checked when the size of the file is known.
 */
export function checkPostPolicy(
  policy: PostPolicy,
  fields: ReadonlyMap<string, string>,
  now: number,
): SizeRange | undefined {
  if (now >= policy.expiresMs) throw denied('Policy expired.');
  const covered = new Set<string>();
  let range: SizeRange | undefined;
  for (const condition of policy.conditions) {
    if (condition.operator === 'content-length-range') {
      range = {
        min: Math.max(range?.min ?? 0, condition.min),
        max: Math.min(range?.max ?? Infinity, condition.max),
      };
      continue;
    }
    if (!holds(condition, fields.get(condition.field) ?? '')) {
      throw denied(`Policy Condition failed: ${condition.text}`);
    }
    covered.add(condition.field);
  }
  const extra = [...fields.keys()].filter(
    (name) =>
      !covered.has(name) &&
      !FREE_FIELDS.has(name) &&
      !FREE_PREFIXES.some((prefix) => name.startsWith(prefix)),
  );
  if (extra.length > 0) throw denied(`Extra input fields: ${extra.join(', ')}`);
  return range;
}

function holds(
  { operator, field, value }: Extract<Condition, { field: string }>,
  given: string,
): boolean {
  if (operator === 'eq') return given === value;
  if (!LIST_FIELDS.has(field)) return given.startsWith(value);
  return given.split(',').every((one) => one.trimStart().startsWith(value));
}

function denied(reason: string): S3Error {
  return new S3Error('AccessDenied', { message: `Invalid according to Policy: ${reason}` });
}
