import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadDigests } from '../base/digest.ts';
import { systemEffects } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import type { PutObjectCommand } from '../meta/protocol.ts';
import { AccessLogWriter, type AccessLogOptions } from './access-log.ts';
import { BucketSettings } from './s3/access/bucket-settings.ts';
import { encodeLogging } from './s3/access-log/config.ts';
import type { LoggedRequest } from './s3/access-log/record.ts';
import { BUCKET, OWNER, storing } from './s3/operations/testing-context.ts';

const GROUP = { grantee: { group: 'LogDelivery' }, permission: 'WRITE' };
const OPEN = { acl: JSON.stringify([GROUP]) };

const source = (prefix: string) =>
  new BucketSettings(BUCKET, { logging: encodeLogging({ bucket: 'logs', prefix }) });

function entry(agent = ''): Omit<LoggedRequest, 'bucketOwner' | 'bucket'> {
  return {
    key: 'k',
    atMs: 0,
    requester: OWNER,
    operation: 'GetObject',
    request: {
      id: '0',
      method: 'GET',
      rawPath: '/',
      rawQuery: '',
      headers: { 'user-agent': agent },
      remoteAddress: '::1',
      secure: false,
    },
    reply: { status: 200, headers: {} },
    code: undefined,
    sentBytes: 0,
    receivedBytes: 0,
    totalMs: 1,
    turnAroundMs: 1,
  };
}

async function writerOf(changes: Partial<AccessLogOptions> = {}, target = OPEN) {
  await loadDigests();
  const puts: PutObjectCommand[] = [];
  const counts: Record<string, number> = { delivered: 0, dropped: 0, refused: 0 };
  const state = { failures: 0 };
  const writer = new AccessLogWriter({
    meta: {
      getBucketSettings: () =>
        Promise.resolve({
          ok: true,
          value: { bucket: { ...BUCKET, name: 'logs' }, values: target },
        }),
      putObject(command) {
        if (state.failures-- > 0) return Promise.resolve({ ok: false, refusal: 'BucketChanged' });
        puts.push(command);
        const value = { version: '', etag: '', modifiedMs: 0 };
        return Promise.resolve({ ok: true, value });
      },
    },
    objects: { store: storing },
    keys: { create: () => assert.fail('nothing is encrypted') },
    encryptionOf: () => undefined,
    accountOf: () => Promise.resolve('123456789012'),
    effects: systemEffects,
    log: silentLog,
    region: 'r',
    flushMs: 60_000,
    count(outcome, lines) {
      counts[outcome] = (counts[outcome] ?? 0) + lines;
    },
    ...changes,
  });
  return { writer, puts, counts, state };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('lines of one target are one object, and a stop delivers what there is', async () => {
  const { writer, puts, counts } = await writerOf();
  for (const prefix of ['a/', 'b/', 'a/']) writer.add(source(prefix), entry());
  writer.add(new BucketSettings(BUCKET, {}), entry());
  assert.equal(puts.length, 0);
  await writer.stop();
  assert.deepEqual(puts.map(({ key }) => key.slice(0, 2)).toSorted(), ['a/', 'b/']);
  assert.equal(counts['delivered'], 3);
  const [first] = puts;
  assert.equal(first?.object.owner, OWNER);
  assert.deepEqual(first.expect, { id: BUCKET.id, revision: BUCKET.revision });
});

test('a large object is put at once, an old one in time', async () => {
  const large = await writerOf();
  for (let lines = 0; lines < 110; lines++)
    large.writer.add(source('a/'), entry('x'.repeat(10_000)));
  await until(() => large.puts.length === 1);
  const old = await writerOf({ flushMs: 30 });
  old.writer.start();
  old.writer.add(source('a/'), entry());
  await until(() => old.puts.length === 1);
  await Promise.all([large.writer.stop(), old.writer.stop()]);
});

test('a failed delivery is tried again, and given up after five', async () => {
  const { writer, puts, counts, state } = await writerOf({ flushMs: 1 });
  state.failures = 4;
  writer.start();
  writer.add(source('a/'), entry());
  await until(() => puts.length === 1);
  assert.equal(counts['delivered'], 1);
  state.failures = 5;
  writer.add(source('a/'), entry());
  await until(() => counts['dropped'] === 1);
  await writer.stop();
  assert.equal(puts.length, 1);
});

test('what may not be delivered is counted as refused', async () => {
  const { writer, puts, counts } = await writerOf({}, { acl: '[]' });
  writer.add(source('a/'), entry());
  await writer.stop();
  assert.deepEqual([puts.length, counts['refused']], [0, 1]);
});

test('memory is bounded: what is beyond is dropped and counted', async () => {
  const { writer, counts } = await writerOf();
  const sources = Array.from({ length: 60 }, (_, index) => source(`${index}/`));
  // Each stays below the size of an object.
  for (const settings of sources) {
    for (let lines = 0; lines < 9; lines++) writer.add(settings, entry('x'.repeat(100_000)));
  }
  const dropped = counts['dropped'] ?? 0;
  assert.ok(dropped > 100 && dropped < 400, String(dropped));
  await writer.stop();
  assert.equal((counts['delivered'] ?? 0) + (counts['dropped'] ?? 0), 540);
});
