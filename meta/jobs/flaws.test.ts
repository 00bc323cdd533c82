import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { makeBlobId } from '../../base/ids.ts';
import type { BlockKey, StorageNode } from '../../storage-node/protocol.ts';
import { flawsOn } from './flaws.ts';
import { nameOf } from './group-walk.ts';
import { BlockNode } from './test-support.ts';

/** A key near an edge of its parts: the first and the last index, the first blob of all. */
const anyKey = fc.record({
  blob: fc
    .tuple(fc.constantFrom(0, 1, 7), fc.constantFrom(0, 1, 2))
    .map(([writer, sequence]) => makeBlobId(writer, sequence)),
  index: fc.constantFrom(0, 1, 2, 3, 0xffff_ffff),
});
const anyBlock = fc.record({
  key: anyKey,
  length: fc.integer({ min: 1, max: 300 }),
  state: fc.constantFrom('sound', 'corrupt', 'missing', 'not asked for'),
});

type Block = typeof anyBlock extends fc.Arbitrary<infer T> ? T : never;

describe('flaws of the replicas on a node', () => {
  it('are what is missing and what is corrupt among the blocks asked for', async () => {
    const blocks = fc.uniqueArray(anyBlock, {
      selector: ({ key }) => nameOf({ group: 7, ...key }),
      maxLength: 30,
    });
    const run = async (found: Block[], step: number) => {
      const node = new BlockNode();
      const asked = [];
      for (const { key: name, length, state } of found) {
        const key: BlockKey = { group: 7, ...name };
        if (state !== 'missing') node.store(key, Buffer.alloc(length, 1));
        if (state === 'corrupt' || (state === 'not asked for' && length % 2 === 0)) node.spoil(key);
        if (state !== 'not asked for') asked.push({ key, length, holders: [] });
      }
      asked.sort((a, b) => (nameOf(a.key) < nameOf(b.key) ? -1 : 1));
      // Pages that end anywhere.
      const reader: Pick<StorageNode, 'verify' | 'has'> = {
        verify: (query) => node.verify({ ...query, bytesMax: Math.min(step, query.bytesMax) }),
        has: (keys) => node.has(keys),
      };
      const flaws = await flawsOn(reader, asked, 1000, async () => {});
      const expected = found.filter(({ state }) => state === 'missing' || state === 'corrupt');
      assert.deepEqual(
        flaws.map(({ block, found: how }) => `${nameOf(block.key)} ${how}`).sort(),
        expected.map(({ key, state }) => `${nameOf({ group: 7, ...key })} ${state}`).sort(),
      );
    };
    await fc.assert(fc.asyncProperty(blocks, fc.integer({ min: 1, max: 500 }), run));
  });

  it('reads what lies between the blocks asked for, and nothing before or after them', async () => {
    const node = new BlockNode();
    const key = (index: number): BlockKey => ({ group: 7, blob: makeBlobId(1, 1), index });
    for (let index = 0; index < 20; index++) node.store(key(index), Buffer.alloc(100, index));
    let read = 0;
    const reader: Pick<StorageNode, 'verify' | 'has'> = {
      verify: async (query) => {
        const page = await node.verify(query);
        read += page.blocks;
        return page;
      },
      has: (keys) => node.has(keys),
    };
    const asked = [5, 6, 8, 9].map((index) => ({ key: key(index), length: 100, holders: [] }));
    let granted = 0;
    const flaws = await flawsOn(reader, asked, 1000, async (bytes) => {
      granted += bytes;
    });
    assert.deepEqual([flaws, read, granted], [[], 5, 500]);
  });
});
