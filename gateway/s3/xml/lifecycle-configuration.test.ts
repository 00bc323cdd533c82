import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { LifecycleRule } from '../../../meta/lifecycle-protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import { lifecycleConfiguration, readLifecycleConfiguration } from './lifecycle-configuration.ts';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

const configuration = (...rules: string[]) =>
  `<LifecycleConfiguration>${rules.map((inner) => `<Rule>${inner}</Rule>`).join('')}</LifecycleConfiguration>`;
const ON = '<Status>Enabled</Status>';
const ALL = '<Filter/>';
const DAYS = '<Expiration><Days>1</Days></Expiration>';
const read = (...rules: string[]) => readLifecycleConfiguration(configuration(...rules));

test('rules are read in the old form and in the new one', () => {
  assert.deepEqual(read(`<ID>a</ID><Prefix>x/</Prefix>${ON}${DAYS}`), [
    { id: 'a', enabled: true, prefix: 'x/', expiration: { days: 1 } },
  ]);
  const tag = (key: string) => `<Tag><Key>${key}</Key><Value>v</Value></Tag>`;
  const filter = `<Filter><And><Prefix>x</Prefix>${tag('a')}${tag('b')}<ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>`;
  const date = '<Expiration><Date>2030-01-01T00:00:00.000Z</Date></Expiration>';
  const noncurrent =
    '<NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration>';
  assert.deepEqual(read(`<ID>b</ID>${filter}<Status>Disabled</Status>${date}${noncurrent}`), [
    {
      id: 'b',
      enabled: false,
      filter: {
        and: {
          prefix: 'x',
          tags: [
            { key: 'a', value: 'v' },
            { key: 'b', value: 'v' },
          ],
          sizeGreater: 1,
          sizeLess: 9,
        },
      },
      expiration: { dateMs: Date.UTC(2030, 0, 1) },
      noncurrent: { days: 2, newer: 3 },
    },
  ]);
  const marker =
    '<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>';
  const abort =
    '<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>';
  assert.deepEqual(read(`<ID>c</ID>${ALL}${ON}${marker}${abort}`), [
    { id: 'c', enabled: true, filter: {}, expiration: { expiredMarker: true }, abortDays: 7 },
  ]);
});

test('a rule without an ID gets one, the same every time, another one for each', () => {
  const rules = read(`${ALL}${ON}${DAYS}`, `<ID></ID>${ALL}${ON}${DAYS}`);
  assert.deepEqual(
    rules.map(({ id }) => id),
    read(`${ALL}${ON}${DAYS}`, `${ALL}${ON}${DAYS}`).map(({ id }) => id),
  );
  assert.equal(new Set(rules.map(({ id }) => id)).size, 2);
});

test('documents that are no rules are MalformedXML', () => {
  for (const inner of [
    `${ALL}${DAYS}`,
    `${ALL}<Status>enabled</Status>${DAYS}`,
    `${ON}${DAYS}`,
    `<Prefix></Prefix>${ALL}${ON}${DAYS}`,
    `<Filter>x</Filter>${ON}${DAYS}`,
    `<Filter><Other/></Filter>${ON}${DAYS}`,
    `<Filter><Tag><Key>a</Key></Tag></Filter>${ON}${DAYS}`,
    `<Filter><Prefix>a</Prefix><Prefix>b</Prefix></Filter>${ON}${DAYS}`,
    `<Filter><And><And/></And></Filter>${ON}${DAYS}`,
    `${ALL}${ON}<Expiration/>`,
    `${ALL}${ON}<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>`,
    `${ALL}${ON}<Expiration><Days>x</Days></Expiration>`,
    `${ALL}${ON}<Expiration><Days>1.5</Days></Expiration>`,
    `${ALL}${ON}<Expiration><Date>tomorrow</Date></Expiration>`,
    `${ALL}${ON}<Expiration><ExpiredObjectDeleteMarker>yes</ExpiredObjectDeleteMarker></Expiration>`,
    `${ALL}${ON}<NoncurrentVersionExpiration/>`,
    `${ALL}${ON}<NoncurrentVersionExpiration><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>`,
    `${ALL}${ON}<AbortIncompleteMultipartUpload/>`,
    `${ALL}${ON}${DAYS}<Unknown/>`,
    `${ALL}${ON}<Transition><Days>1</Days></Transition>`,
  ]) {
    assert.throws(() => read(inner), isCode('MalformedXML'), inner);
  }
  assert.throws(() => read(), isCode('MalformedXML'));
  const rules = Array.from({ length: 1001 }, () => `${ALL}${ON}${DAYS}`);
  assert.throws(() => read(...rules), isCode('MalformedXML'));
  assert.equal(read(...rules.slice(1)).length, 1000);
});

test('values out of bounds are InvalidArgument, contradictions InvalidRequest', () => {
  const noncurrent = (inner: string) =>
    `${ALL}${ON}<NoncurrentVersionExpiration>${inner}</NoncurrentVersionExpiration>`;
  for (const inner of [
    `<ID>${'a'.repeat(256)}</ID>${ALL}${ON}${DAYS}`,
    `${ALL}${ON}<Expiration><Days>0</Days></Expiration>`,
    `${ALL}${ON}<Expiration><Days>-1</Days></Expiration>`,
    `${ALL}${ON}<Expiration><Days>2147483648</Days></Expiration>`,
    `${ALL}${ON}<Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>`,
    `${ALL}${ON}<Expiration><Date>2030-01-01T00:00:00+01:00</Date></Expiration>`,
    noncurrent('<NoncurrentDays>0</NoncurrentDays>'),
    noncurrent(
      '<NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions>',
    ),
    `${ALL}${ON}<AbortIncompleteMultipartUpload><DaysAfterInitiation>0</DaysAfterInitiation></AbortIncompleteMultipartUpload>`,
    `<Filter><ObjectSizeLessThan>0</ObjectSizeLessThan></Filter>${ON}${DAYS}`,
    `${ALL}${ON}<Transition><Date>2030-01-01T00:00:01Z</Date><StorageClass>GLACIER</StorageClass></Transition>`,
  ]) {
    assert.throws(() => read(inner), isCode('InvalidArgument'), inner);
  }
  const twice = `<ID>a</ID>${ALL}${ON}${DAYS}`;
  assert.throws(() => read(twice, twice), isCode('InvalidArgument'));
  const size =
    '<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan>';
  const tag = '<Tag><Key>a</Key><Value>b</Value></Tag>';
  const abort =
    '<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>';
  const marker =
    '<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>';
  for (const inner of [
    `${ALL}${ON}`,
    `<Filter>${size}</Filter>${ON}${DAYS}`,
    `<Filter>${tag}</Filter>${ON}${abort}`,
    `<Filter>${tag}</Filter>${ON}${marker}`,
    `<Prefix>${'é'.repeat(513)}</Prefix>${ON}${DAYS}`,
  ]) {
    assert.throws(() => read(inner), isCode('InvalidRequest'), inner);
  }
  const aws = '<Filter><Tag><Key>aws:x</Key><Value>b</Value></Tag></Filter>';
  assert.throws(() => read(`${aws}${ON}${DAYS}`), isCode('InvalidTag'));
});

test('transitions are NotImplemented, also beside what is not', () => {
  const move = '<Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition>';
  const later =
    '<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>';
  for (const inner of [move, later, `${DAYS}${move}${move}`]) {
    assert.throws(() => read(`${ALL}${ON}${inner}`), isCode('NotImplemented'), inner);
  }
});

const PLAIN = { noNullPrototype: true };
const prefix = fc
  .string({ maxLength: 5 })
  .filter((text) => text.isWellFormed() && !text.includes('\0'));
const word = fc.stringMatching(/^[a-z]{1,5}$/);
const criteria = fc
  .record(
    {
      prefix,
      tags: fc.uniqueArray(fc.record({ key: word, value: word }, PLAIN), {
        selector: ({ key }) => key,
        minLength: 1,
        maxLength: 3,
      }),
      sizeGreater: fc.integer({ min: 0, max: 100 }),
      sizeLess: fc.integer({ min: 101, max: 1000 }),
    },
    { requiredKeys: [], ...PLAIN },
  )
  .map((given) => given);
const days = fc.integer({ min: 1, max: 2 ** 31 - 1 });
const someRule: fc.Arbitrary<LifecycleRule> = fc
  .record(
    {
      id: word,
      enabled: fc.boolean(),
      filter: fc.oneof(
        criteria,
        fc.tuple(criteria, criteria).map(([beside, and]) => ({ ...beside, and })),
      ),
      expiration: fc.oneof(
        fc.record({ days }, PLAIN),
        fc.record({ dateMs: fc.nat(40_000).map((day) => day * 86_400_000) }, PLAIN),
      ),
      noncurrent: fc.record(
        { days, newer: fc.integer({ min: 1, max: 100 }) },
        { requiredKeys: ['days'], ...PLAIN },
      ),
    },
    { requiredKeys: ['id', 'enabled', 'filter', 'expiration'], ...PLAIN },
  )
  .map((rule) => rule);

test('rules come back in the form in which they were sent', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(someRule, { selector: ({ id }) => id, minLength: 1, maxLength: 5 }),
      (rules) => {
        assert.deepEqual(readLifecycleConfiguration(lifecycleConfiguration(rules)), rules);
      },
    ),
  );
});
