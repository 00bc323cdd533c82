import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { FOLDER_FORMAT, type FolderOptions, openNodeFolder } from './folder.ts';
import { childJob, killChild, kind, temporaryFolder } from './test-support.ts';

const newId = () => 'new-node';
let disks = 0;
const newDisk = () => `disk-${++disks}`;

function open(folder: string, more: Partial<FolderOptions> = {}) {
  return openNodeFolder({ folder, newId, newDisk, ...more });
}

/** As if a store had been created. */
function pretendStore(folder: string): void {
  mkdirSync(join(folder, 'blocks'), { recursive: true });
  writeFileSync(join(folder, 'blocks', 'data.mdb'), '');
}

test('a blank folder gets an identity and keeps it', (context) => {
  const folder = join(temporaryFolder(context), 'made', 'here');
  const first = open(folder, { id: 'node-7' });
  const { disk } = first.identity;
  assert.deepEqual(first.identity, { id: 'node-7', clusterId: undefined, disk, generation: 0 });
  assert.equal(first.unclean, false);
  pretendStore(folder);
  first.opening();
  first.opened();
  first.join('cluster-1');
  first.release({ clean: true });
  const second = open(folder);
  assert.deepEqual(second.identity, { ...first.identity, clusterId: 'cluster-1', generation: 1 });
  assert.equal(second.identity.disk, disk);
  assert.equal(second.unclean, false);
  second.release({ clean: false });
  const stored: unknown = JSON.parse(readFileSync(join(folder, 'node.json'), 'utf8'));
  assert.deepEqual(stored, {
    format: FOLDER_FORMAT,
    id: 'node-7',
    clusterId: 'cluster-1',
    disk,
    generation: 1,
  });
});

test('a folder from before disks had ids gets one at its next start, and keeps that', (context) => {
  const folder = temporaryFolder(context);
  const old = { format: 1, id: 'node-1', clusterId: 'cluster-1', generation: 4 };
  writeFileSync(join(folder, 'node.json'), JSON.stringify(old));
  pretendStore(folder);
  const first = open(folder);
  first.opening();
  first.opened();
  first.release({ clean: true });
  const second = open(folder);
  assert.match(second.identity.disk, /^disk-/);
  assert.equal(second.identity.disk, first.identity.disk);
  second.release({ clean: false });
});

test('a folder without a given id names itself', (context) => {
  const folder = open(temporaryFolder(context));
  assert.equal(folder.identity.id, 'new-node');
  folder.release({ clean: false });
});

test('a store counts as unclean from its opening to its release in order', (context) => {
  const folder = temporaryFolder(context);
  const unclean = () => {
    const opened = open(folder);
    const was = opened.unclean;
    opened.release({ clean: false });
    return was;
  };
  pretendStore(folder);
  writeFileSync(
    join(folder, 'node.json'),
    JSON.stringify({ format: 1, id: 'node-1', generation: 1 }),
  );
  assert.equal(unclean(), true);
  const orderly = open(folder);
  orderly.opening();
  orderly.opened();
  orderly.release({ clean: true });
  assert.equal(unclean(), false);
  // Releasing without having opened the store changes nothing.
  assert.equal(unclean(), false);
  const crashed = open(folder);
  crashed.opening();
  crashed.opened();
  crashed.release({ clean: false });
  assert.equal(unclean(), true);
});

test('a folder in use is refused, to this process and to another', async (context) => {
  const folder = temporaryFolder(context);
  const mine = open(folder);
  assert.throws(() => open(folder), kind('unavailable'));
  mine.release({ clean: false });
  const holder = childJob(context, 'hold', folder);
  assert.ok(holder.stdout);
  await once(holder.stdout, 'data');
  assert.throws(() => open(folder), kind('unavailable'));
  assert.throws(() => open(folder), /is in use by another storage node process/);
  await killChild(holder);
  open(folder).release({ clean: false });
});

test('a folder of another node, of a newer format or with unreadable identity is refused', (context) => {
  const folder = temporaryFolder(context);
  open(folder, { id: 'node-1' }).release({ clean: false });
  assert.throws(() => open(folder, { id: 'node-2' }), /belongs to the storage node node-1/);
  const identity = join(folder, 'node.json');
  writeFileSync(identity, JSON.stringify({ format: 2, id: 'node-1', generation: 0 }));
  assert.throws(() => open(folder), /newer version \(format 2, this one knows 1\)/);
  writeFileSync(identity, '{"format":1,');
  assert.throws(() => open(folder), kind('invalid'));
  // Each refusal gave the folder free again.
  assert.throws(() => open(folder), /node.json is not readable/);
});

test('a folder whose store is gone is refused, and a store without identity, too', (context) => {
  const folder = temporaryFolder(context);
  writeFileSync(
    join(folder, 'node.json'),
    JSON.stringify({ format: 1, id: 'node-1', generation: 3 }),
  );
  assert.throws(() => open(folder), kind('corrupt'));
  assert.throws(() => open(folder), /is gone from/);
  const stray = temporaryFolder(context);
  pretendStore(stray);
  assert.throws(() => open(stray), /holds a store but no node.json/);
});
