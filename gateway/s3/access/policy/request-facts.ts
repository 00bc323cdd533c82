/**
 * The values that condition keys have in a request. Nothing is worked out before it is asked for.
 *
 * Source: Amazon S3 User Guide, "Policy condition keys"; IAM User Guide, "AWS global condition
 * context keys". Forwarded-For headers are never looked at: what counts is the socket.
 */
import type { Tag } from '../../../../meta/protocol.ts';
import { parseCopySource } from '../../copy-source.ts';
import type { QueryParameters } from '../../operation.ts';
import { parseTaggingHeader } from '../../tags.ts';
import type { HeaderMap } from '../../request.ts';
import type { AccessNeed } from '../needs.ts';
import { EXISTING_TAG, takesKey } from './keys.ts';
import { plainAddress } from './operators.ts';
import type { ConditionLookup } from './lookup.ts';
import type { PolicyPrincipal } from './policy.ts';

/** All of a request that a policy may ask about. */
export interface RequestFacts {
  /** The operation's name: `UploadPart`. */
  operation: string;
  /** Undefined: anonymous. */
  principal: PolicyPrincipal | undefined;
  /** Header names in lower case, with those hoisted from the query. */
  headers: HeaderMap;
  /** With the parameters of a presigned URL. */
  query: QueryParameters;
  /** The fields of a form stand for headers and query then. */
  form?: boolean | undefined;
  /** Of the socket. */
  remoteAddress: string;
  /** TLS. */
  secure: boolean;
  /** `1.3`; undefined without TLS. */
  tlsVersion?: string | undefined;
  /** Wall clock, milliseconds since the epoch. */
  nowMs: number;
  region: string;
  /** Account number (12 digits) of the bucket's owner. */
  resourceAccount: string;
  /** Of the object or version that the need names; undefined when it is not there. */
  objectTags?: readonly Tag[] | undefined;
  /** The encryption that an upload was begun with, for requests that go on with one. */
  uploadEncryption?: UploadEncryption | undefined;
  /** What the body of PutObjectTagging, PutObjectRetention or PutObjectLegalHold says. */
  body?: BodyFacts | undefined;
}

/** As in the headers of CreateMultipartUpload; keys of customers are not kept, so not known. */
export interface UploadEncryption {
  algorithm: string;
  kmsKeyId?: string | undefined;
}

export interface BodyFacts {
  tags?: readonly Tag[] | undefined;
  lockMode?: string | undefined;
  /** Milliseconds since the epoch. */
  retainUntilMs?: number | undefined;
  legalHold?: string | undefined;
}

type Values = readonly string[] | undefined;
type Question = { facts: RequestFacts; need: AccessNeed; key: string };

/** The lookup for one need of a request. */
export function conditionLookup(facts: RequestFacts, need: AccessNeed): ConditionLookup {
  const action = need.action.toLowerCase();
  return (key) => {
    if (!takesKey(action, key)) return undefined;
    const slash = key.indexOf('/');
    const find = FINDERS.get(slash < 0 ? key : key.slice(0, slash + 1));
    if (find !== undefined) return find({ facts, need, key });
    return key.startsWith('s3:x-amz-') ? header(facts, key.slice('s3:'.length)) : undefined;
  };
}

function one(value: string | undefined): Values {
  return value === undefined ? undefined : [value];
}

/** Headers carry one character per byte; what is UTF-8 is compared as the text that it is. */
function header({ headers }: RequestFacts, name: string): Values {
  const value = headers[name];
  if (value === undefined || !/[\x80-\xff]/.test(value)) return one(value);
  const text = Buffer.from(value, 'latin1').toString();
  return [text.includes('\ufffd') ? value : text];
}

const DAY_MS = 24 * 60 * 60 * 1000;

function retainUntilMs(facts: RequestFacts): number | undefined {
  if (facts.body?.retainUntilMs !== undefined) return facts.body.retainUntilMs;
  const time = Date.parse(facts.headers['x-amz-object-lock-retain-until-date'] ?? '');
  return Number.isNaN(time) ? undefined : time;
}

/** Tags that the request sets. */
function requestTags({ body, headers }: RequestFacts): readonly Tag[] | undefined {
  return body?.tags ?? parseTaggingHeader(headers['x-amz-tagging']);
}

function tagValue(tags: readonly Tag[] | undefined, key: string): Values {
  const name = key.slice(key.indexOf('/') + 1);
  return one(tags?.find((tag) => tag.key === name)?.value);
}

/** Both ways in which a source may be written, so that a policy may use either. */
function copySource({ facts }: Question): Values {
  const value = facts.headers['x-amz-copy-source'];
  if (value === undefined) return undefined;
  const { bucket, key } = parseCopySource(value);
  return [`${bucket}/${key}`, `/${bucket}/${key}`];
}

type AuthType = 'POST' | 'REST-HEADER' | 'REST-QUERY-STRING';

function authType({ principal, form, headers }: RequestFacts): AuthType | undefined {
  if (principal === undefined || principal.service !== undefined) return undefined;
  if (form === true) return 'POST';
  return headers['authorization'] === undefined ? 'REST-QUERY-STRING' : 'REST-HEADER';
}

function signatureVersion(facts: RequestFacts): string | undefined {
  const type = authType(facts);
  if (type === undefined) return undefined;
  const { headers } = facts;
  const version4 =
    type === 'REST-HEADER'
      ? headers['authorization']?.startsWith('AWS4-') === true
      : signedAt(facts) !== undefined || headers['x-amz-algorithm'] !== undefined;
  return version4 ? 'AWS4-HMAC-SHA256' : 'AWS';
}

const TIMESTAMP = /^([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z$/;

/** When a URL was presigned by version 4, milliseconds since the epoch. */
function signedAt({ query }: RequestFacts): number | undefined {
  const match = TIMESTAMP.exec(query.get('X-Amz-Date') ?? '');
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
  return Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second);
}

/** Only presigned URLs have an age, in milliseconds. */
function signatureAge({ facts }: Question): Values {
  if (authType(facts) !== 'REST-QUERY-STRING') return undefined;
  const at = signedAt(facts);
  return at === undefined ? undefined : [String(Math.max(0, facts.nowMs - at))];
}

/** Operations that make an object of `s3:PutObject`; the others only prepare one. */
const CREATING: ReadonlySet<string> = new Set([
  'PutObject',
  'PostObject',
  'CopyObject',
  'CompleteMultipartUpload',
]);

function principalType(principal: PolicyPrincipal | undefined): string {
  if (principal === undefined) return 'Anonymous';
  if (principal.service !== undefined) return 'Service';
  return principal.userName === undefined ? 'Account' : 'User';
}

/** A service that the store itself acts for is no account. */
function account({ principal }: RequestFacts): PolicyPrincipal | undefined {
  return principal?.service === undefined ? principal : undefined;
}

/** Names of keys with their values; keys that are not here are headers, or have no value ever. */
const FINDERS: ReadonlyMap<string, (question: Question) => Values> = new Map<
  string,
  (question: Question) => Values
>([
  ['aws:currenttime', ({ facts }) => [new Date(facts.nowMs).toISOString()]],
  ['aws:epochtime', ({ facts }) => [String(Math.floor(facts.nowMs / 1_000))]],
  [
    'aws:principalaccount',
    ({ facts }) =>
      facts.principal === undefined ? ['anonymous'] : one(account(facts)?.accountNumber),
  ],
  ['aws:principalarn', ({ facts }) => one(account(facts)?.arn)],
  ['aws:principalisawsservice', ({ facts }) => [String(facts.principal?.service !== undefined)]],
  ['aws:principalservicename', ({ facts }) => one(facts.principal?.service)],
  ['aws:principaltype', ({ facts }) => [principalType(facts.principal)]],
  ['aws:referer', ({ facts }) => header(facts, 'referer')],
  ['aws:requestedregion', ({ facts }) => [facts.region]],
  ['aws:resourceaccount', ({ facts }) => [facts.resourceAccount]],
  ['aws:securetransport', ({ facts }) => [String(facts.secure)]],
  ['aws:sourceip', ({ facts }) => [plainAddress(facts.remoteAddress)]],
  ['aws:useragent', ({ facts }) => header(facts, 'user-agent')],
  [
    'aws:userid',
    ({ facts }) => (facts.principal === undefined ? ['anonymous'] : one(account(facts)?.userId)),
  ],
  ['aws:username', ({ facts }) => one(account(facts)?.userName)],
  ['aws:viaawsservice', () => ['false']],
  ['s3:authtype', ({ facts }) => one(authType(facts))],
  ['s3:delimiter', ({ facts }) => one(facts.query.get('delimiter'))],
  [EXISTING_TAG, ({ facts, key }) => tagValue(facts.objectTags, key)],
  ['s3:if-match', ({ facts }) => header(facts, 'if-match')],
  ['s3:if-none-match', ({ facts }) => header(facts, 'if-none-match')],
  ['s3:max-keys', ({ facts }) => one(facts.query.get('max-keys'))],
  [
    's3:object-lock-legal-hold',
    ({ facts }) => one(facts.body?.legalHold ?? facts.headers['x-amz-object-lock-legal-hold']),
  ],
  [
    's3:object-lock-mode',
    ({ facts }) => one(facts.body?.lockMode ?? facts.headers['x-amz-object-lock-mode']),
  ],
  [
    's3:object-lock-remaining-retention-days',
    ({ facts }) => {
      const until = retainUntilMs(facts);
      // A day that has begun counts, so that "10 days from now" is 10 when it arrives.
      return until === undefined ? undefined : [String(Math.ceil((until - facts.nowMs) / DAY_MS))];
    },
  ],
  [
    's3:object-lock-retain-until-date',
    ({ facts }) => {
      const until = retainUntilMs(facts);
      return until === undefined ? undefined : [new Date(until).toISOString()];
    },
  ],
  ['s3:objectcreationoperation', ({ facts }) => [String(CREATING.has(facts.operation))]],
  ['s3:prefix', ({ facts, need }) => one(need.prefix ?? facts.query.get('prefix'))],
  ['s3:requestobjecttag/', ({ facts, key }) => tagValue(requestTags(facts), key)],
  ['s3:requestobjecttagkeys', ({ facts }) => requestTags(facts)?.map((tag) => tag.key)],
  ['s3:resourceaccount', ({ facts }) => [facts.resourceAccount]],
  ['s3:signatureage', signatureAge],
  ['s3:signatureversion', ({ facts }) => one(signatureVersion(facts))],
  ['s3:tlsversion', ({ facts }) => one(facts.tlsVersion)],
  ['s3:versionid', ({ need }) => one(need.versionId)],
  ['s3:x-amz-copy-source', copySource],
  [
    's3:x-amz-server-side-encryption',
    ({ facts }) =>
      one(facts.uploadEncryption?.algorithm) ?? header(facts, 'x-amz-server-side-encryption'),
  ],
  [
    's3:x-amz-server-side-encryption-aws-kms-key-id',
    ({ facts }) =>
      one(facts.uploadEncryption?.kmsKeyId) ??
      header(facts, 'x-amz-server-side-encryption-aws-kms-key-id'),
  ],
]);
