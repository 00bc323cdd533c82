import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import type { Meta, ObjectRecord, StoredEvent } from '../../meta/protocol.ts';
import type { OpenedObject } from '../object/engine.ts';
import { BUCKET, OWNER, TEST_KEYS } from '../s3/operations/testing-context.ts';
import { encodeReplication } from '../s3/replication-config.ts';
import { createDestinations } from './destinations.ts';
import { createReplicator } from './replicator.ts';

const OBJECT: ObjectRecord = {
  version: '1'.repeat(32),
  size: 200_000,
  etag: 'e',
  modifiedMs: 0,
  owner: OWNER,
  data: { kind: 'none' },
  system: {},
  user: {},
  replication: 'PENDING',
};

const EVENT: StoredEvent = {
  id: '1'.repeat(32),
  type: 'ObjectCreated:Put',
  bucket: BUCKET.name,
  key: 'k',
  version: OBJECT.version,
  versionId: OBJECT.version,
  size: OBJECT.size,
  etag: 'e',
  atMs: 0,
  account: 'a',
  requestId: 'r',
  sourceIp: '::1',
  attempts: 0,
  notBeforeMs: 0,
};

const RULES = encodeReplication({
  role: '',
  rules: [
    {
      id: 'r',
      enabled: true,
      priority: 1,
      prefix: '',
      tags: [],
      destination: 'arn:aws:s3:::there',
    },
  ],
});

test('a replica under way ends when another gateway may have taken its bucket over', async () => {
  const bodies: Promise<'whole' | 'cut'>[] = [];
  const server = createServer((request, response) => {
    const body = Promise.withResolvers<'whole' | 'cut'>();
    bodies.push(body.promise);
    request.on('error', () => body.resolve('cut'));
    request.resume().on('end', () => {
      body.resolve('whole');
      response.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const destinations = createDestinations(
    [
      {
        name: 'far',
        endpoint: `http://127.0.0.1:${port}`,
        region: 'us-east-1',
        accessKey: 'a',
        secretKey: 'b',
        markReplicas: true,
        timeoutMs: 60_000,
      },
    ],
    systemEffects,
  );
  const sending = Promise.withResolvers<void>();
  const lost = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  const source: OpenedObject = {
    bucket: BUCKET,
    object: OBJECT,
    parts: undefined,
    unlock: () => {},
    async *read() {
      yield Buffer.alloc(OBJECT.size / 2);
      sending.resolve();
      await lost.promise;
      yield Buffer.alloc(OBJECT.size / 2);
    },
    part: () => Promise.resolve(undefined),
    close: () => closed.resolve(),
  };
  let away = false;
  let settled = 0;
  const meta = {
    leaseEvents: () =>
      away
        ? Promise.reject(new Error('the metadata service is away'))
        : Promise.resolve({ leases: [{ bucketId: BUCKET.id, bucket: BUCKET.name }] }),
    readEvents: () => Promise.resolve({ events: [EVENT] }),
    settleEvents: () => {
      settled++;
      return Promise.resolve(null);
    },
    getBucketConfig: () => Promise.resolve({ ok: true, value: { bucket: BUCKET, value: RULES } }),
  } as unknown as Meta;
  const replicator = createReplicator({
    meta,
    objects: { open: () => Promise.resolve({ ok: true, value: source }) },
    keys: TEST_KEYS,
    destinations,
    ownerOf: (id) => Promise.resolve({ id, number: '111111111111', root: true }),
    effects: systemEffects,
    log: silentLog,
    leaseMs: 200,
    pollMs: 5,
    count: () => {},
  });
  try {
    replicator.start();
    await sending.promise;
    away = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
    lost.resolve();
    await closed.promise;
    await replicator.stop();
    assert.deepEqual(await Promise.all(bodies), ['cut']);
    assert.equal(settled, 0, 'the event is as it was, for whoever has it now');
  } finally {
    await destinations.close();
    server.closeAllConnections();
    server.close();
  }
});
