import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAddress, parseAddress } from './address.ts';
import { failureOf } from './test-support.ts';

test('the three forms of an address are read and written back', () => {
  const forms = {
    '127.0.0.1:9000': { kind: 'tcp', host: '127.0.0.1', port: 9000 },
    'node-1.internal:0': { kind: 'tcp', host: 'node-1.internal', port: 0 },
    '[::1]:65535': { kind: 'tcp', host: '::1', port: 65_535 },
    '[fe80::1%eth0]:7': { kind: 'tcp', host: 'fe80::1%eth0', port: 7 },
    'unix:/run/ashlar/node-1.sock': { kind: 'unix', path: '/run/ashlar/node-1.sock' },
  } as const;
  for (const [text, parsed] of Object.entries(forms)) {
    assert.deepEqual(parseAddress(text), parsed);
    assert.equal(formatAddress(parsed), text);
  }
});

test('anything else is refused', () => {
  for (const text of [
    '',
    'host',
    'host:',
    ':9000',
    'host:65536',
    'host:-1',
    'host:9000 ',
    'http://host:9000',
    '::1:9000',
    'unix:relative.sock',
    'unix:',
    `unix:/${'x'.repeat(103)}`,
  ]) {
    assert.throws(() => parseAddress(text), failureOf('invalid'), text);
  }
});
