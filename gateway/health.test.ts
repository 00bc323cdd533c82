import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHealthRoutes, isReady, isWritable } from './health.ts';
import type { ObjectEngineStatus } from './object/create-engine.ts';

const well = {
  ready: true,
  inTouch: true,
  layoutEpoch: 1,
  groups: { total: 1024, blocked: 0 },
} as ObjectEngineStatus;

test('ready says which of the things that serving needs is missing', () => {
  assert.deepEqual(isReady(well, false), { ok: true });
  assert.match(isReady(well, true).reason ?? '', /stopping/);
  assert.match(isReady({ ...well, layoutEpoch: undefined }, false).reason ?? '', /placement map/);
  assert.match(isReady({ ...well, ready: false }, false).reason ?? '', /metadata service/);
});

test('cluster counts placement groups, not nodes, and needs the metadata service', () => {
  assert.deepEqual(isWritable(well, false), { ok: true });
  const some = isWritable({ ...well, groups: { total: 1024, blocked: 7 } }, false);
  assert.match(some.reason ?? '', /^Writes to 7 of 1024 groups are refused/);
  const all = isWritable({ ...well, groups: { total: 1024, blocked: 1024 } }, false);
  assert.match(all.reason ?? '', /^All writes are refused/);
  assert.match(isWritable({ ...well, inTouch: false }, false).reason ?? '', /metadata service/);
});

test('the routes answer GET and HEAD of three paths and nothing else', () => {
  const routes = createHealthRoutes(
    () => ({ ...well, inTouch: false }),
    () => false,
  );
  const status = (method: string, rawPath: string) => routes({ method, rawPath })?.status;
  assert.equal(status('GET', '/_ashlar/health/live'), 200);
  assert.equal(status('HEAD', '/_ashlar/health/ready'), 200);
  assert.equal(status('GET', '/_ashlar/health/cluster'), 503);
  assert.equal(status('GET', '/minio/health/live'), 200);
  assert.equal(status('HEAD', '/minio/health/ready'), 200);
  assert.equal(status('GET', '/minio/health/cluster'), 503);
  assert.equal(status('GET', '/minio/health/other'), undefined);
  assert.equal(status('PUT', '/_ashlar/health/live'), undefined);
  assert.equal(status('GET', '/_ashlar/health/'), undefined);
});
