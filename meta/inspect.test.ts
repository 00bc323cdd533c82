import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LocatedObject } from './admin-protocol.ts';
import { complete, freshPart, MIB, startUpload, value } from './catalogue/test-support.ts';
import { createInspect } from './inspect.ts';
import { contentOf, type HealingWorld, healingWorld } from './jobs/test-support.ts';

function inspectOf(w: HealingWorld) {
  const { view, node } = w.parts;
  const verifiedAt = (id: string, group: number) => (id === 'node-0' ? group + 1 : undefined);
  return createInspect({ catalogue: w.world.catalogue, view, node, verifiedAt });
}

test('an object is located block by block, with the state of every replica', async () => {
  const w = await healingWorld(4);
  const ref = await w.put('k', 3 * MIB + 7);
  const blocks = w.placed(ref);
  const victims = [0, 1, 2].map((n) => {
    const block = blocks[n];
    assert.ok(block);
    return block;
  });
  const [gone, bad, away] = victims;
  assert.ok(gone && bad && away);
  const awayId = away.ids[0] ?? '';
  const goneId = gone.ids.find((id) => id !== awayId) ?? '';
  const badId = bad.ids.find((id) => id !== awayId) ?? '';
  w.node(goneId).lose(gone.key);
  w.node(badId).spoil(bad.key);
  w.down.add(awayId);
  const query = { bucket: 'b', key: 'k', from: 0, limit: 100 };
  const { locateObject } = inspectOf(w);
  for (const verify of [true, false]) {
    const found = value(await locateObject({ ...query, verify }));
    assert.deepEqual(
      found.blocks.map(({ index, offset, size }) => [index, offset, size]),
      [
        [0, 0, MIB],
        [1, MIB, MIB],
        [2, 2 * MIB, MIB],
        [3, 3 * MIB, 7],
      ],
    );
    assert.equal(found.next, undefined);
    for (const [n, block] of found.blocks.entries()) {
      assert.deepEqual(
        block.replicas.map((replica) => replica.node),
        blocks[n]?.ids,
      );
      for (const replica of block.replicas) {
        const expected =
          replica.node === awayId
            ? 'unreachable'
            : n === 0 && replica.node === goneId
              ? 'missing'
              : n === 1 && replica.node === badId && verify
                ? 'corrupt'
                : 'good';
        assert.equal(replica.state, expected, `block ${n} on ${replica.node}`);
        const verified = replica.node === 'node-0' ? block.group + 1 : undefined;
        assert.equal(replica.verifiedMs, verified);
      }
    }
  }
});

test('a multipart object is located page by page, across its parts', async () => {
  const w = await healingWorld();
  const upload = await startUpload(w.world, 'big');
  const { catalogue } = w.world;
  for (let number = 1; number <= 300; number++) {
    const size = number === 300 ? 10 : 5 * MIB;
    const part = freshPart(w.world, upload, number * 2, size);
    value(await catalogue.putPart(part));
    if (part.data.kind !== 'fresh') continue;
    const { blob, blockSize } = part.data;
    const ref = { blob, size, blockSize };
    if (number < 299) continue;
    for (const { key, ids } of w.placed(ref)) {
      for (const id of ids) w.node(id).store(key, contentOf(ref, key.index));
    }
  }
  const listed = value(await catalogue.listParts({ ...upload, after: 0, limit: 1000 }));
  value(await complete(catalogue, upload, listed.parts));
  const { locateObject } = inspectOf(w);
  const query = { bucket: 'b', key: 'big', verify: true };
  let from: number | undefined = 0;
  let offset = 0;
  let blocks = 0;
  while (from !== undefined) {
    const page: LocatedObject = value(await locateObject({ ...query, from, limit: 700 }));
    for (const block of page.blocks) {
      assert.equal(block.offset, offset);
      offset += block.size;
      blocks += 1;
      const stored = blocks > 298 * 5;
      for (const { state } of block.replicas) assert.equal(state, stored ? 'good' : 'missing');
    }
    from = page.next;
  }
  assert.equal(blocks, 299 * 5 + 1);
  assert.equal(offset, 299 * 5 * MIB + 10);
});

test('what is not there is refused as the catalogue does, and an empty object has no blocks', async () => {
  const w = await healingWorld();
  const { locateObject } = inspectOf(w);
  const query = { bucket: 'b', key: 'k', from: 0, limit: 10, verify: false };
  assert.deepEqual(await locateObject(query), { ok: false, refusal: 'NoSuchKey' });
  await w.world.put('b', 'k', 0);
  const found = value(await locateObject(query));
  assert.deepEqual([found.blocks, found.next, found.size], [[], undefined, 0]);
});

test('a version is located by its name', async () => {
  const w = await healingWorld();
  const { catalogue } = w.world;
  value(await catalogue.setVersioning({ bucket: 'b', versioning: 'Enabled' }));
  const older = await w.put('k', 100);
  const newer = await w.put('k', 200);
  const page = value(await catalogue.listVersions({ bucket: 'b', prefix: 'k', limit: 10 }));
  const { locateObject } = inspectOf(w);
  const query = { bucket: 'b', key: 'k', from: 0, limit: 10, verify: true };
  const located = async (versionId: string | undefined) =>
    value(await locateObject({ ...query, versionId })).blocks.map(({ blob }) => blob);
  assert.deepEqual(await located(undefined), [newer.blob]);
  const ids = page.versions.map(({ versionId }) => versionId);
  assert.deepEqual(await located(ids[0]), [newer.blob]);
  assert.deepEqual(await located(ids[1]), [older.blob]);
  const missing = await locateObject({ ...query, versionId: 'f'.repeat(32) });
  assert.equal(missing.ok ? '' : missing.refusal, 'NoSuchVersion');
});
