import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../base/config.ts';
import { chooseDisks } from './disks.ts';

const data = '/data';
const blank = () => undefined;
const own = ['node-1', 'node-2', 'node-3'].map((id) => ({ id, folder: `/data/${id}` }));
const used = (disks: typeof own) => disks.map((disk) => ({ ...disk, used: true }));

/** What folders hold, by path. */
const holding =
  (names: Readonly<Record<string, string>>) =>
  (folder: string): string | undefined =>
    names[folder];

test('without --disk there are three folders in the data folder', () => {
  assert.deepEqual(chooseDisks({ data, given: [], remembered: [], nameIn: blank }), own);
});

test('a later start needs no --disk: what was used is used again', () => {
  const disks = ['/a', '/b', '/c', '/d'].map((folder, i) => ({ id: `node-${i + 1}`, folder }));
  const remembered = [...used(disks), { id: 'node-9', folder: '/gone', used: false }];
  assert.deepEqual(chooseDisks({ data, given: [], remembered, nameIn: blank }), disks);
});

test('the order of --disk does not matter, and a disk keeps its name at another place', () => {
  const nameIn = holding({ '/c': 'node-1', '/a': 'node-3', '/moved': 'node-2' });
  const remembered = used([
    { id: 'node-1', folder: '/c' },
    { id: 'node-2', folder: '/b' },
    { id: 'node-3', folder: '/a' },
  ]);
  const chosen = chooseDisks({ data, given: ['/a', '/moved', '/c'], remembered, nameIn });
  assert.deepEqual(
    chosen.map(({ id }) => id),
    ['node-3', 'node-2', 'node-1'],
  );
});

test('a fourth disk gets a name that no node ever had', () => {
  const nameIn = holding({ '/a': 'node-1', '/b': 'node-2', '/c': 'node-3' });
  const remembered = [
    ...used([
      { id: 'node-1', folder: '/a' },
      { id: 'node-2', folder: '/b' },
      { id: 'node-3', folder: '/c' },
    ]),
    { id: 'node-4', folder: '/removed', used: false },
  ];
  const chosen = chooseDisks({ data, given: ['/a', '/b', '/c', '/d'], remembered, nameIn });
  assert.equal(chosen[3]?.id, 'node-5');
});

test('a blank disk at an old place keeps the old name, so that the cluster can refuse it', () => {
  const nameIn = holding({ '/a': 'node-1', '/c': 'node-3' });
  const remembered = used([
    { id: 'node-1', folder: '/a' },
    { id: 'node-2', folder: '/b' },
    { id: 'node-3', folder: '/c' },
  ]);
  assert.equal(chooseDisks({ data, given: [], remembered, nameIn })[1]?.id, 'node-2');
});

test('too few folders, one named twice and a copied disk are refused with a sentence', () => {
  const choose = (given: string[], names: Record<string, string> = {}) =>
    chooseDisks({ data, given, remembered: [], nameIn: holding(names) });
  assert.throws(() => choose(['/a', '/b']), ConfigError);
  assert.throws(() => choose(['/a', '/b', '/a']), /\/a is named twice/);
  assert.throws(
    () => choose(['/a', '/b', '/c'], { '/a': 'node-1', '/c': 'node-1' }),
    /\/c holds a copy of node node-1/,
  );
});
