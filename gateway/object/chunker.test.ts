import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Chunker } from './chunker.ts';

function cut(blockSize: number, hint: number | undefined, chunks: Uint8Array[]): Uint8Array[] {
  const chunker = new Chunker(blockSize, hint);
  const blocks: Uint8Array[] = [];
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      at = chunker.push(chunk, at);
      const block = chunker.full ? chunker.take() : undefined;
      if (block !== undefined) blocks.push(block);
    }
  }
  const last = chunker.take();
  return last === undefined ? blocks : [...blocks, last];
}

const chunkArrays = fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 20 });

test('the blocks are the chunks again, all full but the last, whatever the size hint says', () => {
  fc.assert(
    fc.property(
      chunkArrays,
      fc.integer({ min: 1, max: 40 }),
      fc.option(fc.integer({ min: 0, max: 500 }), { nil: undefined }),
      (chunks, blockSize, hint) => {
        const blocks = cut(blockSize, hint, chunks);
        assert.deepEqual(Buffer.concat(blocks), Buffer.concat(chunks));
        for (const block of blocks.slice(0, -1)) assert.equal(block.length, blockSize);
        for (const block of blocks) assert.ok(block.length > 0 && block.length <= blockSize);
      },
    ),
  );
});

test('no two blocks share memory that either of them was copied into', () => {
  fc.assert(
    fc.property(chunkArrays, fc.integer({ min: 1, max: 40 }), (chunks, blockSize) => {
      const sources = new Set<ArrayBufferLike>(chunks.map((chunk) => chunk.buffer));
      const own = cut(blockSize, undefined, chunks)
        .map((block) => block.buffer)
        .filter((buffer) => !sources.has(buffer));
      assert.equal(new Set(own).size, own.length);
    }),
  );
});

test('a body that comes as one chunk is not copied', () => {
  const chunk = Buffer.alloc(100, 1);
  assert.equal(cut(1000, 100, [chunk])[0], chunk);
});

test('whole blocks inside a big chunk are not copied', () => {
  const chunk = Buffer.alloc(100, 1);
  const blocks = cut(30, undefined, [chunk]);
  assert.deepEqual(
    blocks.map((block) => block.length),
    [30, 30, 30, 10],
  );
  for (const block of blocks) assert.equal(block.buffer, chunk.buffer);
});

test('a block of many chunks is copied once, into a buffer of the size that the hint asks for', () => {
  const chunks = Array.from({ length: 10 }, (_, index) => Buffer.alloc(10, index));
  const [block] = cut(1000, 100, chunks);
  assert.equal(block?.buffer.byteLength, 100);
});

test('large chunks are freed once they are copied, and never while a block lies in them', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 100 * 1024 }), { maxLength: 12 });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 20_000, max: 150_000 }), (lengths, blockSize) => {
      const chunks = lengths.map((length, index) => Buffer.allocUnsafeSlow(length).fill(index + 1));
      const expected = Buffer.concat(chunks);
      assert.ok(Buffer.concat(cut(blockSize, undefined, chunks)).equals(expected));
    }),
  );
  const chunks = [0, 1, 2].map((index) => Buffer.allocUnsafeSlow(64 * 1024).fill(index));
  cut(1024 * 1024, undefined, chunks);
  assert.deepEqual(
    chunks.map((chunk) => chunk.length),
    [0, 0, 0],
  );
});
