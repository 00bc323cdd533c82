import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemEffects } from '../../base/clock.ts';
import { Failure, isFailure } from '../../base/failure.ts';
import type { ObjectRecord } from '../../meta/protocol.ts';
import { Destination, ReplicaError } from './destination.ts';

const OBJECT: ObjectRecord = {
  version: '0'.repeat(32),
  size: 2000,
  etag: 'e',
  modifiedMs: 0,
  owner: 'o',
  data: { kind: 'none' },
  system: {},
  user: {},
};

function destinationAt(port: number): Destination {
  return new Destination(
    {
      name: 'far',
      endpoint: `http://127.0.0.1:${port}`,
      region: 'us-east-1',
      accessKey: 'a',
      secretKey: 'b',
      markReplicas: true,
      timeoutMs: 600_000,
    },
    systemEffects,
  );
}

async function* breaking(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(1000);
  await new Promise((resolve) => setImmediate(resolve));
  throw new Failure('corrupt', 'no replica is sound');
}

test('closing cuts off what is under way, and nothing is begun after it', async () => {
  const arrived = Promise.withResolvers<void>();
  let requests = 0;
  // Takes everything and answers nothing.
  const server = createServer((request) => {
    requests++;
    request.on('error', () => {}).on('data', () => arrived.resolve());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const destination = destinationAt((server.address() as AddressInfo).port);
  const replica = { object: OBJECT, storageClass: undefined };
  async function* whole(): AsyncGenerator<Uint8Array> {
    await Promise.resolve();
    yield Buffer.alloc(OBJECT.size);
  }
  try {
    const put = destination.putWhole('b', 'k', replica, whole());
    await arrived.promise;
    await destination.close();
    await assert.rejects(put, ReplicaError);
    await assert.rejects(destination.putMarker('b', 'k'), /is closed/);
    assert.equal(requests, 1);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('a source that breaks off in the middle is the error of the request, at once, and of nothing else', async () => {
  const server = createServer((request, response) => {
    request.on('error', () => {});
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const destination = destinationAt((server.address() as AddressInfo).port);
  const replica = { object: OBJECT, storageClass: undefined };
  const isCorrupt = (error: unknown): boolean => isFailure(error, 'corrupt');
  try {
    await assert.rejects(destination.putWhole('b', 'k', replica, breaking()), isCorrupt);
  } finally {
    await destination.close();
    server.closeAllConnections();
    server.close();
  }
});
