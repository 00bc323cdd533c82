import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areasOf, type Case, holds, isInside, type Reasons, shareOf } from './verdict.ts';

const REASONS: Reasons = {
  'test_s3.py::test_failed_0': ['s3', 'S3 answers otherwise'],
  'test_s3.py::test_skipped_7': ['ceph', 'an extension'],
};

const cases = (outcome: Case['outcome'], count: number, ...markers: string[]): Case[] =>
  Array.from({ length: count }, (_, index) => ({
    id: `test_s3.py::test_${outcome}_${index}`,
    markers,
    outcome,
    seconds: 0,
  }));

const named = (name: string, list: readonly Case[]) => {
  const area = areasOf(list, REASONS).find((one) => one.name === name);
  assert.ok(area, name);
  return area;
};

test('a target holds at its share exactly, and not below', () => {
  const at = [...cases('passed', 98), ...cases('failed', 2)];
  assert.equal(holds(named('S3 API', at)), true);
  assert.equal(holds(named('S3 API', [...at, ...cases('failed', 1)])), false);
});

test('a target without a case that ran does not hold', () => {
  assert.equal(holds(named('cors', cases('passed', 5))), false);
  assert.equal(holds(named('S3 API', cases('skipped', 5))), false);
});

test('skipped cases say nothing either way', () => {
  const { count } = named('S3 API', [...cases('passed', 1), ...cases('skipped', 9)]);
  assert.deepEqual(count, { passed: 1, failed: 0, skipped: 8 });
  assert.equal(shareOf(count), 1);
});

test("Ceph's own extensions and cloud transition are counted by marker, but not judged", () => {
  const list = [
    ...cases('passed', 50),
    ...cases('failed', 9, 'bucket_logging'),
    ...cases('failed', 1, 'cloud_transition', 'lifecycle'),
  ];
  assert.deepEqual(named('S3 API', list).count, { passed: 50, failed: 0, skipped: 0 });
  assert.deepEqual(named('marker bucket_logging', list).count, {
    passed: 0,
    failed: 9,
    skipped: 0,
  });
  assert.equal(named('marker bucket_logging', list).target, undefined);
  assert.equal(list.filter((one) => isInside(one, REASONS)).length, 50);
});

test('the areas of the targets find their cases by marker or by name', () => {
  const of = (id: string, ...markers: string[]): Case => ({
    id: `test_s3.py::${id}`,
    markers,
    outcome: 'passed',
    seconds: 0,
  });
  const list = [
    of('test_encrypted_put', 'encryption'),
    of('test_lifecycle_set', 'lifecycle'),
    of('test_versioning_bucket_create_suspend'),
    of('test_object_lock_put_obj_lock'),
    of('test_bucket_policy', 'bucket_policy'),
    of('test_post_object_anonymous_request'),
    of('test_set_cors'),
    of('test_object_checksum_sha256', 'checksum'),
    of('test_put_object_ifmatch_good'),
  ];
  const judged = areasOf(list, REASONS).filter((area) => area.target !== undefined);
  assert.deepEqual(
    judged.map(({ name, count }) => `${name} ${count.passed}`),
    [
      'S3 API 9',
      'sse 1',
      'lifecycle 1',
      'versioning 1',
      'object-lock 1',
      'policy 1',
      'post 1',
      'cors 1',
      'checksum 1',
      'conditional-write 1',
    ],
  );
});

test('a case that cannot pass anywhere is not judged when the suite says so, too', () => {
  const reasons: Reasons = { 'test_s3.py::test_failed_0': ['suite', 'nothing arrives'] };
  assert.equal(
    cases('failed', 1, 'fails_on_rgw').some((one) => isInside(one, reasons)),
    false,
  );
  assert.equal(
    cases('failed', 1).some((one) => isInside(one, reasons)),
    true,
  );
});

test('a case that AWS fails is not judged when it is written down what S3 does instead', () => {
  const marked = cases('failed', 2, 'fails_on_aws');
  const bare = cases('failed', 1);
  const judged = [...marked, ...bare].filter((one) => isInside(one, REASONS));
  assert.deepEqual(
    judged.map(({ id, markers }) => `${id} ${markers.join()}`),
    ['test_s3.py::test_failed_1 fails_on_aws', 'test_s3.py::test_failed_0 '],
  );
  const [extension] = cases('skipped', 8).slice(7);
  assert.equal(extension && isInside(extension, REASONS), false);
});
