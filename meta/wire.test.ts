import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { systemEffects } from '../base/clock.ts';
import { Failure, isFailure } from '../base/failure.ts';
import { silentLog } from '../base/log.ts';
import { createRpcChannel } from '../base/rpc/client.ts';
import type { RpcChannel } from '../base/rpc/rpc.ts';
import { createRpcServer } from '../base/rpc/server.ts';
import { ANSWERS } from './answer-wire.ts';
import { createCatalogue } from './catalogue/catalogue.ts';
import { createMetaClient } from './client.ts';
import { openCluster } from './cluster/cluster.ts';
import { createMemoryStore } from './engine/memory.ts';
import { LIST_PAGE_MAX, type ListedObject, type Meta, type ObjectPage } from './protocol.ts';
import { createMetaHandler } from './server.ts';
import { createMetaService } from './service.ts';
import { OWNER, prepare, put, SECRET } from './test-support.ts';
import { COMMANDS, META_RPC_LIMITS, METHODS } from './wire.ts';

const effects = systemEffects;
const log = silentLog;

async function createService(): Promise<Meta> {
  const store = createMemoryStore();
  const cluster = await openCluster({ store, effects, log });
  return createMetaService({ catalogue: createCatalogue({ store, effects }), cluster });
}

/** A service behind a real connection. */
async function serve(t: TestContext): Promise<{ meta: Meta; channel: RpcChannel }> {
  const limits = META_RPC_LIMITS;
  const handler = createMetaHandler(await createService());
  const server = createRpcServer({ secret: SECRET, handler, limits, effects, log });
  const address = await server.listen('127.0.0.1:0');
  const channel = createRpcChannel({ address, secret: SECRET, limits, effects, log });
  t.after(async () => {
    await channel.close();
    await server.close({ graceMs: 0 });
  });
  return { meta: createMetaClient(channel), channel };
}

describe('the metadata service over the wire', () => {
  it('lists objects with everything that the service says of them', () => {
    const full: Required<ListedObject> = {
      key: 'a',
      size: 2 ** 42,
      etag: 'e-3',
      modifiedMs: 1_763_627_400_007,
      owner: 'o',
      storageClass: 'GLACIER_IR',
      checksum: { algorithm: 'SHA256', type: 'COMPOSITE' },
    };
    const { storageClass: _class, checksum: _checksum, ...plain } = { ...full, key: 'b' };
    const bucket = {
      id: 1,
      name: 'b',
      owner: 'o',
      region: 'r',
      createdMs: 1,
      revision: 1,
      configs: [],
    };
    const value: ObjectPage = { bucket, objects: [full, plain], commonPrefixes: ['c'], next: 'b' };
    const shape = ANSWERS.listObjects ?? assert.fail();
    const answers = [
      { ok: true, value },
      { ok: true, value: { ...value, objects: [] } },
      { ok: false, refusal: 'NoSuchBucket' },
    ];
    for (const answer of answers) assert.deepEqual(shape.unpack(shape.pack(answer)), answer);
  });

  it('answers as the service in the same process does', async (t) => {
    const answers: unknown[][] = [];
    for (const meta of [await createService(), (await serve(t)).meta]) {
      const { writer } = await prepare(meta);
      const said: unknown[] = [];
      const written = await meta.putObject(put(writer, 'bucket', 'key', 1));
      assert.ok(written.ok);
      const found = await meta.getObject({ bucket: 'bucket', key: 'key', withParts: true });
      assert.ok(found.ok);
      assert.equal(found.value.object.version, written.value.version);
      said.push({ ...found.value.object, version: '', modifiedMs: 0 });
      said.push(await meta.getObject({ bucket: 'bucket', key: 'none' }));
      const condition = { ifNoneMatch: '*' as const };
      said.push(await meta.putObject({ ...put(writer, 'bucket', 'key', 2), condition }));
      said.push(await meta.deleteObjects({ bucket: 'bucket', keys: [{ key: 'key' }] }));
      said.push(await meta.bucketUsage({ bucket: 'bucket' }));
      const { layout, nodes } = (await meta.status()).view;
      assert.ok(Buffer.isBuffer(layout?.assignment));
      said.push(layout, nodes);
      const marks = { lowestSequence: 3, oldestRead: 0, oldestLayout: 1 };
      const renewed = await meta.renewWriter({ writer, marks, revision: 0 });
      said.push(renewed.view?.nodes);
      answers.push(said);
    }
    assert.deepEqual(answers[1], answers[0]);
  });

  it('hands on failures with their kind', async (t) => {
    const { meta } = await serve(t);
    await prepare(meta);
    await assert.rejects(meta.putObject(put(77, 'bucket', 'key', 1)), (error) =>
      isFailure(error, 'fenced'),
    );
    const beat = { id: 'x', instance: 'y', freeBytes: 1, capacityBytes: 2, full: false };
    await assert.rejects(meta.heartbeat(beat), (error) => isFailure(error, 'not-found'));
  });

  it('carries the largest pages and commands', async (t) => {
    const { meta } = await serve(t);
    const { writer } = await prepare(meta);
    const long = 'k'.repeat(1019);
    const name = (n: number) => `${long}${String(n).padStart(5, '0')}`;
    const numbers = Array.from({ length: LIST_PAGE_MAX }, (_, n) => n);
    await Promise.all(numbers.map((n) => meta.putObject(put(writer, 'bucket', name(n), n + 1))));
    const page = await meta.listObjects({ bucket: 'bucket', prefix: '', limit: LIST_PAGE_MAX });
    assert.ok(page.ok && page.value.objects.length === LIST_PAGE_MAX);
    const keys = numbers.map((n) => ({ key: name(n) }));
    const deleted = await meta.deleteObjects({ bucket: 'bucket', keys });
    assert.ok(deleted.ok && deleted.value.every((one) => one.ok && one.value.existed));
  });

  it('refuses malformed commands with Failure and goes on', async (t) => {
    const { meta, channel } = await serve(t);
    const { writer } = await prepare(meta);
    const command = fc.oneof(
      fc.anything({ withBigInt: false, withDate: false }),
      fc.dictionary(
        fc.constantFrom(
          'bucket',
          'key',
          'writer',
          'object',
          'parts',
          'keys',
          'limit',
          'marks',
          'id',
        ),
        fc.oneof(fc.constant('bucket'), fc.constant(writer + 1), fc.anything({ maxDepth: 1 })),
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 40 }), command, async (method, value) => {
        const outcome = await channel
          .call(method, { meta: value })
          .catch((error: unknown) => error);
        if (outcome instanceof Failure) assert.notEqual(outcome.kind, 'internal', outcome.message);
      }),
      { numRuns: 500 },
    );
    // The random commands may well have deleted the bucket.
    const created = await meta.createBucket({ name: 'other', owner: OWNER, region: 'r' });
    assert.ok(created.ok);
    assert.ok((await meta.putObject(put(writer, 'other', 'key', 1))).ok);
  });

  it('has a shape for the command of every method', async () => {
    const service = await createService();
    const methods = Object.keys(service).sort();
    assert.deepEqual(Object.keys(METHODS.numbers).sort(), methods);
    assert.deepEqual(Object.keys(COMMANDS).sort(), methods);
    for (const method of methods.filter((name) => name !== 'status')) {
      const shape = COMMANDS[method as keyof Meta];
      for (const wrong of [undefined, null, 7, 'text', [], {}]) {
        assert.notEqual(shape(wrong), undefined, method);
      }
    }
  });

  it('takes every command that the protocol allows', () => {
    const blob = { blob: '0'.repeat(32), size: 1, blockSize: 2 };
    const place = { bucket: 'b', key: 'k' };
    const upload = { ...place, uploadId: 'u' };
    const commands: [keyof Meta, unknown][] = [
      ['listBuckets', { prefix: '', after: undefined, limit: 0 }],
      ['readParts', { list: 'l', from: { offset: 5 * 1024 ** 4 } }],
      [
        'putPart',
        {
          ...upload,
          writer: 1,
          number: 1,
          size: 0,
          etag: 'e',
          data: { kind: 'none' },
          missing: [],
        },
      ],
      [
        'putPart',
        {
          ...upload,
          writer: 1,
          number: 1,
          size: 1,
          etag: 'e',
          data: { kind: 'reference', ...blob },
          missing: [{ blob: blob.blob, node: 'n' }],
        },
      ],
      [
        'copyObject',
        {
          ...place,
          writer: 1,
          source: { ...place, version: 'v' },
          owner: 'o',
          metadata: { system: { contentType: undefined }, user: {} },
          checksum: { algorithm: 'CRC32', type: 'COMPOSITE', value: 'x' },
        },
      ],
      [
        'completeUpload',
        {
          ...upload,
          parts: [{ number: -1, etag: '' }],
          expected: { algorithm: 'SHA256', value: '' },
          expectedType: 'FULL_OBJECT',
          expectedSize: 0,
          condition: { ifMatch: '*' },
        },
      ],
      [
        'createUpload',
        {
          ...place,
          owner: OWNER,
          system: {},
          user: {},
          checksum: { algorithm: 'CRC64NVME', type: 'FULL_OBJECT' },
        },
      ],
      ['deleteObject', { ...place, condition: { ifMatchSize: 1, ifMatchModifiedMs: 1.5 } }],
      ['getObject', { ...place, versionId: 'null', withParts: true }],
      ['deleteObject', { ...place, versionId: 'anything' }],
      ['deleteObjects', { bucket: 'b', keys: [{ key: 'k', versionId: 'v' }, { key: 'k' }] }],
      ['setVersioning', { bucket: 'b', versioning: 'Suspended' }],
      ['listVersions', { bucket: 'b', prefix: '', keyMarker: 'k', versionIdMarker: 'v', limit: 1 }],
      ['setObjectTags', { ...place, versionId: undefined, tags: [{ key: 'a', value: '' }] }],
      ['setBucketConfig', { bucket: 'b', name: 'tagging', value: 'x'.repeat(60 * 1024) }],
      ['setBucketConfig', { bucket: 'b', name: 'tagging' }],
      ['getBucketConfig', { bucket: 'b', name: 'tagging' }],
      ['setObjectTags', { ...place, tags: [], expectObject: { version: 'v', revision: 0 } }],
      ['setObjectExtras', { ...place, acl: [] }],
      [
        'setObjectLock',
        { ...place, retention: { mode: 'GOVERNANCE', untilMs: 1 }, legalHold: true },
      ],
      ['setObjectLock', { ...place, retention: {}, bypassGovernance: true }],
      ['listBuckets', { prefix: '', limit: 1, owner: OWNER }],
      ['findAccount', { by: 'accessKey', value: 'AK' }],
      ['findAccount', { by: 'id', value: '' }],
      ['reportReplicas', { reports: [{ blob: blob.blob, node: 'n', reason: 'corrupt' }] }],
      [
        'renewWriter',
        {
          writer: 1,
          marks: { lowestSequence: 1, oldestRead: 2 ** 40, oldestLayout: 0 },
          revision: -1,
        },
      ],
    ];
    for (const [method, command] of commands) assert.equal(COMMANDS[method](command), undefined);
  });
});

describe('the metadata client', () => {
  /** A channel whose first calls fail as told. */
  function flaky(...failures: Failure[]): { channel: RpcChannel; calls: number[] } {
    const calls: number[] = [];
    const channel: RpcChannel = {
      connected: true,
      async call(method) {
        calls.push(method);
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        return { meta: 'answer', payload: undefined, payloadHash: 0n };
      },
      close: async () => {},
    };
    return { channel, calls };
  }
  const lost = () => new Failure('unknown-outcome', 'the connection was lost');

  it('asks once more when the connection of a read was lost', async () => {
    const { channel, calls } = flaky(lost());
    const meta = createMetaClient(channel);
    assert.equal(await meta.getBucket({ bucket: 'b' }), 'answer' as never);
    assert.equal(calls.length, 2);
  });

  it('gives up after the second loss, and a read has no unknown outcome', async () => {
    const { channel, calls } = flaky(lost(), lost());
    const meta = createMetaClient(channel);
    await assert.rejects(meta.status(), (error) => isFailure(error, 'unavailable'));
    assert.equal(calls.length, 2);
  });

  it('never repeats what changes something', async () => {
    const { channel, calls } = flaky(lost());
    const meta = createMetaClient(channel);
    await assert.rejects(meta.deleteObject({ bucket: 'b', key: 'k' }), (error) =>
      isFailure(error, 'unknown-outcome'),
    );
    assert.equal(calls.length, 1);
  });

  it('does not repeat a read that the service refused or that ran out of time', async () => {
    for (const kind of ['invalid', 'timeout', 'cancelled'] as const) {
      const { channel, calls } = flaky(new Failure(kind, 'no'));
      const meta = createMetaClient(channel);
      await assert.rejects(meta.getBucket({ bucket: 'b' }), (error) => isFailure(error, kind));
      assert.equal(calls.length, 1);
    }
  });
});
