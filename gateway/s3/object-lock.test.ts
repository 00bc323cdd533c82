import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ObjectLockConfiguration } from '../../meta/protocol.ts';
import { BucketSettings } from './access/bucket-settings.ts';
import { type ErrorCode, S3Error } from './errors.ts';
import {
  addLockHeaders,
  bypassesGovernance,
  checkLockOfNew,
  decodeLockConfiguration,
  encodeLockConfiguration,
  parseLockHeaders,
  requireLockDigest,
} from './object-lock.ts';
import { BUCKET } from './operations/testing-context.ts';
import { legalHold, readLegalHold } from './xml/legal-hold.ts';
import {
  objectLockConfiguration,
  readObjectLockConfiguration,
} from './xml/object-lock-configuration.ts';
import { readRetention, retention } from './xml/retention.ts';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

const MODE = 'x-amz-object-lock-mode';
const UNTIL = 'x-amz-object-lock-retain-until-date';
const HOLD = 'x-amz-object-lock-legal-hold';
const DATE = '2030-01-01T00:00:00Z';
const DATE_MS = Date.UTC(2030, 0, 1);

test('the headers of an upload tell its lock', () => {
  assert.equal(parseLockHeaders({}), undefined);
  assert.deepEqual(parseLockHeaders({ [MODE]: 'GOVERNANCE', [UNTIL]: DATE }), {
    mode: 'GOVERNANCE',
    untilMs: DATE_MS,
  });
  assert.deepEqual(parseLockHeaders({ [HOLD]: 'OFF' }), { legalHold: false });
  const all = { [MODE]: 'COMPLIANCE', [UNTIL]: '2030-01-01T01:00:00.500+01:00', [HOLD]: 'ON' };
  const lock = { mode: 'COMPLIANCE', untilMs: DATE_MS + 500, legalHold: true };
  assert.deepEqual(parseLockHeaders(all), lock);
});

test('headers that are no lock are InvalidArgument', () => {
  const table: Record<string, string>[] = [
    { [MODE]: 'GOVERNANCE' },
    { [UNTIL]: DATE },
    { [MODE]: 'governance', [UNTIL]: DATE },
    { [MODE]: '', [UNTIL]: DATE },
    { [MODE]: 'GOVERNANCE', [UNTIL]: '' },
    { [MODE]: 'GOVERNANCE', [UNTIL]: '2030-01-01' },
    { [MODE]: 'GOVERNANCE', [UNTIL]: '2030-13-01T00:00:00Z' },
    { [MODE]: 'GOVERNANCE', [UNTIL]: 'Tue, 01 Jan 2030 00:00:00 GMT' },
    { [HOLD]: 'on' },
    { [HOLD]: '' },
  ];
  for (const headers of table) {
    assert.throws(
      () => parseLockHeaders(headers),
      isCode('InvalidArgument'),
      JSON.stringify(headers),
    );
  }
});

test('a lock is refused before the upload where the commit would refuse it', () => {
  const plain = new BucketSettings(BUCKET, {});
  const locking = new BucketSettings({ ...BUCKET, configs: ['object-lock'] }, {});
  const lock = { mode: 'GOVERNANCE' as const, untilMs: 1000 };
  checkLockOfNew(undefined, plain, 0);
  checkLockOfNew(lock, locking, 999);
  assert.throws(() => checkLockOfNew(lock, locking, 1000), isCode('InvalidArgument'));
  assert.throws(() => checkLockOfNew({ legalHold: true }, plain, 0), isCode('InvalidRequest'));
});

test('content under lock needs a digest', () => {
  const lock = { legalHold: true };
  const plain = new BucketSettings(BUCKET, { 'object-lock': '{}' });
  requireLockDigest(undefined, {}, undefined);
  requireLockDigest(undefined, {}, plain);
  requireLockDigest(lock, { 'content-md5': 'x' }, plain);
  requireLockDigest(lock, { 'x-amz-checksum-crc32': 'AAAAAA==' }, plain);
  requireLockDigest(lock, { 'x-amz-trailer': 'x-amz-checksum-sha1' }, plain);
  assert.throws(() => requireLockDigest(lock, {}, plain), isCode('InvalidRequest'));
  const retention = { mode: 'GOVERNANCE' as const, period: { days: 1 } };
  const standard = encodeLockConfiguration({ retention });
  const retaining = new BucketSettings(BUCKET, { 'object-lock': standard });
  requireLockDigest(undefined, { 'content-md5': 'x' }, retaining);
  assert.throws(() => requireLockDigest(undefined, {}, retaining), isCode('InvalidRequest'));
});

test('only a plain true bypasses governance', () => {
  assert.equal(bypassesGovernance({ 'x-amz-bypass-governance-retention': 'True' }), true);
  for (const value of ['false', '1', '', ' yes']) {
    assert.equal(bypassesGovernance({ 'x-amz-bypass-governance-retention': value }), false);
  }
  assert.equal(bypassesGovernance({}), false);
});

test('reads show what a version has', () => {
  const headersOf = (lock: Parameters<typeof addLockHeaders>[1]) => {
    const headers = {};
    addLockHeaders(headers, lock);
    return headers;
  };
  assert.deepEqual(headersOf(undefined), {});
  assert.deepEqual(headersOf({ legalHold: false }), { [HOLD]: 'OFF' });
  assert.deepEqual(headersOf({ mode: 'COMPLIANCE', untilMs: DATE_MS }), {
    [MODE]: 'COMPLIANCE',
    [UNTIL]: '2030-01-01T00:00:00.000Z',
  });
});

const PLAIN = { noNullPrototype: true };
const period = fc.oneof(
  fc.record({ days: fc.integer({ min: 1, max: 36_500 }) }, PLAIN),
  fc.record({ years: fc.integer({ min: 1, max: 100 }) }, PLAIN),
);
const mode = fc.constantFrom('GOVERNANCE' as const, 'COMPLIANCE' as const);

test('configurations come back as they were, from documents and from storage', () => {
  fc.assert(
    fc.property(fc.option(fc.record({ mode, period }, PLAIN), { nil: undefined }), (standard) => {
      const given: ObjectLockConfiguration = standard === undefined ? {} : { retention: standard };
      assert.deepEqual(readObjectLockConfiguration(objectLockConfiguration(given)), given);
      assert.deepEqual(decodeLockConfiguration(encodeLockConfiguration(given)), given);
    }),
  );
});

test('retentions and legal holds come back as they were', () => {
  fc.assert(
    fc.property(mode, fc.date({ noInvalidDate: true, min: new Date(0) }), (given, date) => {
      const untilMs = date.getTime() % 253_402_300_800_000;
      assert.deepEqual(readRetention(retention(given, untilMs)), { mode: given, untilMs });
    }),
  );
  for (const on of [true, false]) assert.equal(readLegalHold(legalHold(on)), on);
  assert.deepEqual(readRetention('<Retention/>'), {});
});

const configuration = (inner: string) =>
  `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>${inner}</ObjectLockConfiguration>`;
const rule = (inner: string) =>
  configuration(`<Rule><DefaultRetention>${inner}</DefaultRetention></Rule>`);

test('documents that are no object lock are refused', () => {
  for (const xml of [
    '<ObjectLockConfiguration/>',
    '<ObjectLockConfiguration><ObjectLockEnabled>enabled</ObjectLockEnabled></ObjectLockConfiguration>',
    '<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>',
    configuration('<Rule/>'),
    configuration('<Other/>'),
    configuration('<Rule><DefaultRetention/></Rule><Rule><DefaultRetention/></Rule>'),
    rule('<Mode>GOVERNANCE</Mode>'),
    rule('<Days>1</Days>'),
    rule('<Mode>governance</Mode><Days>1</Days>'),
    rule('<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>'),
    rule('<Mode>GOVERNANCE</Mode><Days>x</Days>'),
    rule('<Mode>GOVERNANCE</Mode><Days>1.5</Days>'),
  ]) {
    assert.throws(() => readObjectLockConfiguration(xml), isCode('MalformedXML'), xml);
  }
  for (const inner of [
    '<Days>0</Days>',
    '<Days>-1</Days>',
    '<Years>0</Years>',
    '<Days>36501</Days>',
    '<Years>101</Years>',
  ]) {
    const xml = rule(`<Mode>GOVERNANCE</Mode>${inner}`);
    assert.throws(() => readObjectLockConfiguration(xml), isCode('InvalidRetentionPeriod'), inner);
  }
  for (const inner of [
    'x',
    '<Mode>GOVERNANCE</Mode>',
    `<RetainUntilDate>${DATE}</RetainUntilDate>`,
    `<Mode>governance</Mode><RetainUntilDate>${DATE}</RetainUntilDate>`,
    '<Mode>GOVERNANCE</Mode><RetainUntilDate>tomorrow</RetainUntilDate>',
    `<Mode>GOVERNANCE</Mode><RetainUntilDate>${DATE}</RetainUntilDate><Days>1</Days>`,
  ]) {
    const xml = `<Retention>${inner}</Retention>`;
    assert.throws(() => readRetention(xml), isCode('MalformedXML'), xml);
  }
  for (const inner of ['', '<Status/>', '<Status>on</Status>', '<Status>ON</Status><Mode/>']) {
    const xml = `<LegalHold>${inner}</LegalHold>`;
    assert.throws(() => readLegalHold(xml), isCode('MalformedXML'), xml);
  }
});
