import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HASH_OF_NOTHING, hashBytes } from '../checksum.ts';
import { encodeMeta, type Frame, FrameDecoder, type FrameKind } from './frame.ts';
import type { RpcMeta } from './rpc.ts';
import { failureOf, frameBytes, frameBytesWithMeta, LIMITS, requestHead } from './test-support.ts';

interface Sample {
  kind: FrameKind;
  method: number;
  id: number;
  timeoutMs: number;
  meta: RpcMeta;
  payload: Buffer;
}

const u32 = fc.nat(0xff_ff_ff_ff);
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));

const metas: fc.Arbitrary<RpcMeta> = fc.letrec<{ value: RpcMeta }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom(undefined, null, true, false),
    fc.maxSafeInteger(),
    fc.double().map((number) => (Object.is(number, -0) ? 0 : number)),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.string({ unit: 'binary' }).map((text) => text.toWellFormed()),
    bytes,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

const samples: fc.Arbitrary<Sample> = fc.record({
  kind: fc.constantFrom<FrameKind>('request', 'response', 'failure', 'cancel', 'ping', 'pong'),
  method: fc.nat(0xff_ff),
  id: u32,
  timeoutMs: u32,
  meta: metas,
  payload: fc.oneof(
    bytes,
    fc.integer({ min: 0, max: 200_000 }).map((length) => Buffer.alloc(length, length)),
  ),
});

function expected(sample: Sample): Frame {
  const payload = sample.payload.length === 0 ? undefined : sample.payload;
  return { ...sample, payload, payloadHash: hashBytes(sample.payload), intact: true };
}

function cut(stream: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((place) => place % (stream.length + 1)))].sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const place of [...places, stream.length]) {
    chunks.push(Buffer.from(stream.subarray(from, place)));
    from = place;
  }
  return chunks;
}

function decode(chunks: readonly Buffer[]): Frame[] {
  const frames: Frame[] = [];
  const decoder = new FrameDecoder(LIMITS);
  for (const chunk of chunks) {
    decoder.push(chunk, (frame) => frames.push(frame));
    // What was handed over must not depend on the chunk any more.
    chunk.fill(0xee);
  }
  return frames;
}

test('frames survive any cutting of the byte stream', () => {
  fc.assert(
    fc.property(
      fc.array(samples, { maxLength: 6 }),
      fc.array(fc.nat(500_000), { maxLength: 30 }),
      (list, places) => {
        const stream = Buffer.concat(list.map((sample) => frameBytes(sample, sample)));
        assert.deepEqual(decode(cut(stream, places)), list.map(expected));
      },
    ),
  );
});

test('frames survive delivery byte by byte', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ meta: metas, payload: bytes }), { maxLength: 4 }), (list) => {
      const all = list.map((message, id) => ({ ...requestHead(id), ...message }));
      const stream = Buffer.concat(all.map((sample) => frameBytes(sample, sample)));
      assert.deepEqual(decode(cut(stream, [...stream.keys()])), all.map(expected));
    }),
    { numRuns: 30 },
  );
});

test('a flipped byte anywhere never yields a wrong frame', () => {
  fc.assert(
    fc.property(
      fc.array(samples, { minLength: 1, maxLength: 4 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (list, place, mask) => {
        const stream = Buffer.concat(list.map((sample) => frameBytes(sample, sample)));
        const at = place % stream.length;
        stream[at] = (stream[at] ?? 0) ^ mask;
        const decoder = new FrameDecoder(LIMITS);
        const frames: Frame[] = [];
        let failed = false;
        try {
          decoder.push(stream, (frame) => frames.push(frame));
        } catch (error) {
          assert.ok(failureOf('corrupt')(error) || failureOf('invalid')(error));
          failed = true;
        }
        const damaged = frames.filter((frame) => !frame.intact).length;
        assert.ok(failed || damaged === 1 || frames.length < list.length);
        for (const [index, frame] of frames.entries()) {
          if (frame.intact) assert.deepEqual(frame, expected(list[index] ?? assert.fail()));
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('meta keeps integers beyond 32 bits as numbers and byte strings as private Buffers', () => {
  const meta = {
    size: 5 * 1024 ** 4,
    when: 1_795_000_000_000,
    hash: 2n ** 63n,
    key: Buffer.from('k'),
  };
  const [frame] = decode([frameBytes(requestHead(1), { meta })]);
  assert.deepEqual(frame?.meta, meta);
  assert.ok(frame);
  const { key } = frame.meta as { key: Buffer };
  assert.ok(Buffer.isBuffer(key));
  assert.ok(key.buffer.byteLength < 1024);
});

test('a payload has a buffer of its own', () => {
  const payload = Buffer.from('content');
  const frames = decode([
    Buffer.concat([1, 2].map((id) => frameBytes(requestHead(id), { meta: 0, payload }))),
  ]);
  const [first, second] = frames.map((frame) => frame.payload ?? assert.fail());
  assert.ok(first && second);
  assert.notEqual(first.buffer, second.buffer);
  assert.deepEqual([first, second], [payload, payload]);
});

test('lengths over the limits are refused by the head alone', () => {
  for (const at of [12, 16]) {
    const head = Buffer.from(frameBytes(requestHead(1), { meta: 0 }).subarray(0, 32));
    head.writeUInt32LE(0xff_ff_ff_ff, at);
    const decoder = new FrameDecoder(LIMITS);
    assert.throws(() => decoder.push(head, () => assert.fail()), failureOf('invalid'));
  }
  const largest = Buffer.alloc(LIMITS.payloadBytesMax);
  const [frame] = decode([frameBytes(requestHead(1), { meta: 0, payload: largest })]);
  assert.equal(frame?.payload?.length, LIMITS.payloadBytesMax);
});

test('a meta value over the limit, or of no known type, is refused before sending', () => {
  const big = 'x'.repeat(LIMITS.metaBytesMax);
  assert.throws(() => encodeMeta(big, LIMITS), failureOf('invalid'));
  assert.throws(() => encodeMeta(2n ** 70n, LIMITS), failureOf('invalid'));
});

test('an unknown kind, version or reserved byte is refused although its hash is right', () => {
  for (const [at, value] of [
    [3, 2],
    [4, 0],
    [4, 7],
    [4, 255],
    [5, 1],
  ] as const) {
    const bytes = frameBytes(requestHead(1), { meta: undefined });
    bytes[at] = value;
    bytes.writeBigUInt64LE(hashBytes(bytes.subarray(0, 32)), 32);
    assert.throws(() => decode([bytes]), failureOf('invalid'), `byte ${at} = ${value}`);
  }
});

test('meta that is no MessagePack, or nested without end, is refused', () => {
  for (const meta of [
    Buffer.alloc(60_000, 0x91),
    Buffer.alloc(60_000, 0x81),
    Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x01, 0x02]),
    Buffer.from([0xc7, 0x01, 0x72, 0x01]),
  ]) {
    const bytes = frameBytesWithMeta(requestHead(1), meta, Buffer.alloc(0));
    assert.throws(() => decode([bytes]), failureOf('invalid'), meta.toString('hex', 0, 8));
  }
});

test('meta cannot reach the prototype of what it becomes', () => {
  const meta = Buffer.concat([
    Buffer.from([0x81, 0xa9]),
    Buffer.from('__proto__'),
    Buffer.from([0x81, 0xa1, 0x61, 0x01]),
  ]);
  const [frame] = decode([frameBytesWithMeta(requestHead(1), meta, Buffer.alloc(0))]);
  assert.ok(frame);
  assert.equal((frame.meta as { a?: number }).a, undefined);
});

test('a frame without payload has the hash of nothing', () => {
  const [frame] = decode([frameBytes(requestHead(1), { meta: 1 })]);
  assert.equal(frame?.payload, undefined);
  assert.equal(frame?.payloadHash, HASH_OF_NOTHING);
  assert.equal(frame?.intact, true);
});
