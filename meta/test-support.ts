/** What the tests of the service share. */
import { Failure } from '../base/failure.ts';
import { makeBlobId } from '../base/ids.ts';
import { encodeBlockKey, type StorageNode } from '../storage-node/protocol.ts';
import type { Meta, NewObject, NodeRegistration, PutObjectCommand } from './protocol.ts';

export const SECRET = 'a secret of the test cluster';
export const OWNER = 'ab'.repeat(32);

function registration(n: number): NodeRegistration {
  return {
    id: `node-${n}`,
    address: `127.0.0.1:${9000 + n}`,
    zone: `zone-${n}`,
    capacityBytes: 1e12,
    freeBytes: 9e11,
    instance: `instance-${n}`,
  };
}

export function put(
  writer: number,
  bucket: string,
  key: string,
  sequence: number,
  size = 4096,
): PutObjectCommand {
  const data = {
    kind: 'blob' as const,
    blob: makeBlobId(writer, sequence),
    size,
    blockSize: 2 ** 20,
  };
  const etag = sequence.toString(16).padStart(32, '0');
  const object: NewObject = { size, etag, owner: OWNER, data, system: {}, user: { a: 'b' } };
  return { writer, bucket, key, object, missing: [] };
}

/** Three nodes, a bucket and a writer. */
export async function prepare(meta: Meta): Promise<{ writer: number; readEpoch: number }> {
  for (const n of [1, 2, 3]) await meta.registerNode(registration(n));
  await meta.createBucket({ name: 'bucket', owner: OWNER, region: 'us-east-1' });
  return await meta.openWriter({ name: 'test' });
}

/** A storage node that remembers which blocks it was told to delete. */
export function deletingNode(deleted: Set<string>): StorageNode {
  const refuse = () => Promise.reject(new Failure('internal', 'not part of this test'));
  return {
    put: refuse,
    get: refuse,
    has: refuse,
    restore: refuse,
    list: refuse,
    verify: refuse,
    stats: refuse,
    health: refuse,
    async delete(keys) {
      for (const key of keys) deleted.add(encodeBlockKey(key).toString('hex'));
    },
  };
}
