import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compatibilityDocument, lastRunOf, operationTable } from './compatibility.ts';
import { readReasons } from './reasons.ts';
import type { Case, Reasons } from './verdict.ts';

const one = (id: string, outcome: Case['outcome'], more: Partial<Case> = {}): Case => ({
  id: `test_s3.py::${id}`,
  markers: [],
  outcome,
  seconds: 1,
  ...more,
});

const REASONS: Reasons = {
  'test_s3.py::test_known': ['s3', 'S3 answers 416'],
  'test_s3.py::test_ceph': ['ceph', 'an extension'],
};

test('the table names what is there and what is not', () => {
  const table = operationTable();
  assert.match(table, /^\| PutObject \| yes \|/m);
  assert.match(table, /^\| RenameObject \| yes \|/m);
  assert.match(table, /^\| GetObjectTorrent \| NotImplemented \| S3 has withdrawn it \|$/m);
});

test('every case that did not pass is listed with its reason, or as not explained', () => {
  const cases = [
    one('test_fine', 'passed'),
    one('test_known', 'failed'),
    one('test_unknown', 'failed'),
    one('test_ceph', 'failed', { markers: ['fails_on_aws'] }),
    one('test_skipped', 'skipped', { reason: 'Skipped: no cloud' }),
    one('test_skipped_too', 'skipped', { reason: 'Skipped: no cloud' }),
  ];
  const run = lastRunOf('abc', cases, REASONS);
  const text = compatibilityDocument(run, REASONS);
  const [judged = '', beside = ''] = text
    .slice(text.indexOf('### Not passed'))
    .split('### Not passed and');
  assert.match(judged, /\| `test_known` \| S3 answers otherwise \| S3 answers 416 \|/);
  assert.match(judged, /\| `test_unknown` \|  \| not explained yet \|/);
  assert.doesNotMatch(judged, /test_ceph/);
  assert.match(beside, /\| `test_ceph` \| an extension of Ceph's gateway \| an extension \|/);
  assert.match(beside, /\| 2 \| no cloud \|/);
  assert.match(text, /\| S3 API \| 1 \| 2 \| 2 \| 33\.3 % \| 98 % \|/);
});

test('every reason is of a known kind and says something', () => {
  for (const [id, [kind, why]] of Object.entries(readReasons())) {
    assert.match(id, /^test_(s3|headers)\.py::test_\w+(\[.*\])?$/);
    assert.ok(['s3', 'ceph', 'suite', 'refused'].includes(kind), id);
    assert.ok(why.length > 10, id);
  }
});
