import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemEffects } from '../../base/clock.ts';
import { Failure, isFailure } from '../../base/failure.ts';
import type { ObjectRecord } from '../../meta/protocol.ts';
import { Destination } from './destination.ts';

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

async function* breaking(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(1000);
  await new Promise((resolve) => setImmediate(resolve));
  throw new Failure('corrupt', 'no replica is sound');
}

test('a source that breaks off in the middle is the error of the request, at once, and of nothing else', async () => {
  const server = createServer((request, response) => {
    request.on('error', () => {});
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const destination = new Destination(
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
