import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeBlockKey } from './protocol.ts';
import { keyOf } from './test-support.ts';
import { WarmBlocks } from './warm-blocks.ts';

const keys = Array.from({ length: 2000 }, (_, index) => encodeBlockKey(keyOf(index, index % 1024)));
const MIB = 1024 ** 2;

function warmCount(blocks: WarmBlocks, some: Buffer[]): number {
  return some.filter((key) => blocks.isWarm(key)).length;
}

test('blocks touched within the expected memory are warm, older and unknown ones are not', () => {
  const blocks = new WarmBlocks(1000 * MIB);
  assert.equal(warmCount(blocks, keys), 0);
  for (const key of keys) blocks.touch(key, MIB);
  // The last 500 MiB for certain, what is older than 1,000 MiB certainly not; slots may collide.
  assert.ok(warmCount(blocks, keys.slice(1500)) >= 490);
  assert.ok(warmCount(blocks, keys.slice(0, 1000)) <= 5);
});

test('blocks stay warm however often generations pass, as long as they are touched', () => {
  const blocks = new WarmBlocks(10 * MIB);
  const [first, second] = keys;
  assert.ok(first && second);
  for (let round = 0; round < 3000; round++) {
    blocks.touch(first, MIB);
    assert.ok(blocks.isWarm(first));
  }
  assert.equal(blocks.isWarm(second), false);
});
