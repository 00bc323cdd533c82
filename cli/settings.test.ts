import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { ConfigError, leavesOf } from '../base/config.ts';
import { addSettings, settingFlags } from './options.ts';
import { loadSettings, parseListen, settingsSchema } from './settings.ts';

test('every setting has one sentence, and no two share a variable', () => {
  const leaves = leavesOf(settingsSchema);
  for (const leaf of leaves) assert.match(leaf.description, /^[A-Z`].*\.$/, leaf.path);
  assert.equal(new Set(leaves.map((leaf) => leaf.variable)).size, leaves.length);
});

test('flags reach their settings, the short ones and the repeated ones too', () => {
  const command = addSettings(new Command(), ['data', 's3', 'buckets', 'gateways', 'replication']);
  command.parse(
    [
      '--data',
      'd',
      '--s3',
      '127.0.0.1:1',
      '--bucket',
      'a',
      '--bucket',
      'b,c',
      '--gateways',
      '3',
      '--replication-block-size',
      '4MiB',
    ],
    { from: 'user' },
  );
  const { value } = loadSettings(settingFlags(command.opts()), {}, undefined);
  assert.equal(value.data, 'd');
  assert.equal(value.s3.listen, '127.0.0.1:1');
  assert.deepEqual(value.buckets, ['a', 'b', 'c']);
  assert.equal(value.gateways, 3);
  assert.equal(value.replication.blockSize, 4 * 1024 * 1024);
});

test('secrets have no flag', () => {
  const command = addSettings(new Command(), ['root', 'cluster']);
  assert.deepEqual(
    command.options.map((option) => option.long),
    ['--config'],
  );
});

test('a configuration file that is not there is an error', () => {
  assert.throws(() => loadSettings({}, {}, 'no-such-file.yaml'), ConfigError);
});

test('listening addresses', () => {
  assert.deepEqual(parseListen('127.0.0.1:9000', 's3.listen'), { host: '127.0.0.1', port: 9000 });
  assert.deepEqual(parseListen('[::1]:0', 's3.listen'), { host: '::1', port: 0 });
  assert.deepEqual(parseListen(':9000', 's3.listen'), { host: '0.0.0.0', port: 9000 });
  for (const bad of ['9000', 'host', 'host:', 'host:99999', '::1:9000x']) {
    assert.throws(() => parseListen(bad, 's3.listen'), ConfigError, bad);
  }
});
