import assert from 'node:assert/strict';
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { test } from 'node:test';
import fc from 'fast-check';
import { systemEffects, systemRandom } from '../../base/clock.ts';
import { deriveKey, keyOf, parseKeyText } from '../../base/derive-key.ts';
import type { ObjectEncryption } from '../../meta/protocol.ts';
import { canonicalContext } from './context.ts';
import { createKeyring } from './keyring.ts';
import { createLocalKms } from './local-kms.ts';
import { masterKeyOf, masterKeys } from './master-keys.ts';
import { openKeyring } from './open-keyring.ts';
import { KeyError, type KeyProblem, type KeyTarget } from './protocol.ts';
import { testKeyring } from './testing-keys.ts';
import { unwrapKey, WRAPPED_BYTES, wrapKey } from './wrap.ts';

const keyOfByte = (byte: number): KeyObject => createSecretKey(Buffer.alloc(32, byte));
const customer = (byte: number) => ({ key: keyOfByte(byte), md5: `md5 of ${byte}` });
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64');
const is = (problem: KeyProblem) => (error: unknown) =>
  error instanceof KeyError && error.problem === problem;

const KMS = { algorithm: 'aws:kms', keyId: 'k1', bucket: 'b' } as const;
const TARGETS: KeyTarget[] = [
  { algorithm: 'AES256' },
  KMS,
  { ...KMS, context: base64({ a: 'b' }) },
  { ...KMS, bucketKey: true },
  { algorithm: 'customer', customer: customer(3) },
];

test('a key is unwrapped by the key that wrapped it, for the same purpose, as it was, and by no other way', () => {
  const by = keyOfByte(1);
  const key = keyOf(randomBytes(32));
  const wrapped = wrapKey(by, key, 'p', systemRandom);
  assert.equal(wrapped.length, WRAPPED_BYTES);
  assert.ok(unwrapKey(by, wrapped, 'p')?.equals(key));
  assert.equal(unwrapKey(keyOfByte(2), wrapped, 'p'), undefined);
  assert.equal(unwrapKey(by, wrapped, 'q'), undefined);
  fc.assert(
    fc.property(
      fc.nat({ max: WRAPPED_BYTES - 1 }),
      fc.integer({ min: 1, max: 255 }),
      (at, mask) => {
        const changed = Buffer.from(wrapped);
        changed[at] = (changed[at] ?? 0) ^ mask;
        assert.equal(unwrapKey(by, changed, 'p'), undefined);
        assert.equal(unwrapKey(by, wrapped.subarray(0, at), 'p'), undefined);
      },
    ),
  );
  const again = wrapKey(by, key, 'p', systemRandom);
  assert.notDeepEqual(again, wrapped);
});

test('the data key of every mode comes back, and each object has its own', async () => {
  const keys = testKeyring();
  for (const target of TARGETS) {
    const one = await keys.create(target);
    const other = await keys.create(target);
    assert.ok(!one.dataKey.equals(other.dataKey));
    const mine = target.algorithm === 'customer' ? target.customer : undefined;
    assert.ok((await keys.unwrap(one.encryption, mine)).equals(one.dataKey));
    assert.ok(!one.encryption.wrappedKey.includes(one.dataKey.export()));
    assert.ok(!inspect(one, { depth: 9 }).includes(one.dataKey.export().toString('hex')));
  }
});

test('a data key under a key of the client needs that key', async () => {
  const keys = testKeyring();
  const target = { algorithm: 'customer', customer: customer(3) } as const;
  const { encryption } = await keys.create(target);
  assert.equal(encryption.keyMd5, 'md5 of 3');
  await assert.rejects(keys.unwrap(encryption, undefined), is('wrong-key'));
  // The same MD5, but not the same key: that no two keys have one is nothing to rely on.
  const forged = { key: keyOfByte(4), md5: 'md5 of 3' };
  await assert.rejects(keys.unwrap(encryption, forged), is('wrong-key'));
});

test('a KMS data key is bound to its key and its context, however that is written', async () => {
  const keys = testKeyring();
  const context = Buffer.from('{"b":"2", "a":"1"}').toString('base64');
  const { dataKey, encryption } = await keys.create({ ...KMS, context });
  const changed = (change: Partial<ObjectEncryption>) =>
    keys.unwrap({ ...encryption, ...change }, undefined);
  assert.ok((await changed({ context: base64({ a: '1', b: '2' }) })).equals(dataKey));
  await assert.rejects(changed({ context: base64({ a: '1' }) }), is('damaged'));
  await assert.rejects(changed({ context: undefined }), is('damaged'));
  await assert.rejects(changed({ keyId: 'k2' }), is('unknown-key'));
  await assert.rejects(keys.create({ ...KMS, keyId: 'k2' }), is('unknown-key'));
  await assert.rejects(keys.create({ ...KMS, keyId: undefined }), is('unknown-key'));
  const withDefault = testKeyring([7], 'k1');
  assert.equal((await withDefault.create({ ...KMS, keyId: undefined })).encryption.keyId, 'k1');
});

test('master keys: the first wraps, all unwrap, and what none of them wrapped is told apart', async () => {
  const [before, during, after, other] = [[8], [7, 8], [7], [9]].map((masters) =>
    testKeyring(masters),
  );
  assert.ok(before && during && after && other);
  const old = await before.create({ algorithm: 'AES256' });
  assert.equal(old.encryption.keyId, before.activeMasterKey);
  assert.ok((await during.unwrap(old.encryption, undefined)).equals(old.dataKey));
  assert.equal(before.isOutdated(old.encryption), false);
  assert.equal(during.isOutdated(old.encryption), true);
  const anew = await during.wrap(old.dataKey, { algorithm: 'AES256' });
  assert.equal(anew.keyId, after.activeMasterKey);
  assert.ok((await after.unwrap(anew, undefined)).equals(old.dataKey));
  await assert.rejects(after.unwrap(old.encryption, undefined), is('lost-master-key'));
  const forged = { ...old.encryption, keyId: other.activeMasterKey };
  await assert.rejects(other.unwrap(forged, undefined), is('damaged'));
  const none = testKeyring([]);
  assert.equal(none.activeMasterKey, undefined);
  await assert.rejects(none.create({ algorithm: 'AES256' }), is('no-master-key'));
});

test('a bucket key asks the KMS once for many objects, until it is old', async () => {
  let nowMs = 0;
  const calls: string[] = [];
  const local = createLocalKms(new Map([['k1', keyOfByte(9)]]), systemRandom);
  const keys = createKeyring({
    masters: [],
    kms: {
      generate: (keyId) => (calls.push('generate'), local.generate(keyId)),
      unwrap: (keyId, wrapped) => (calls.push('unwrap'), local.unwrap(keyId, wrapped)),
    },
    defaultKmsKey: undefined,
    effects: { ...systemEffects, clock: { ...systemEffects.clock, monotonic: () => nowMs } },
  });
  const target = { ...KMS, bucketKey: true } as const;
  const made = [await keys.create(target), await keys.create(target)];
  for (const one of made) {
    assert.ok((await keys.unwrap(one.encryption, undefined)).equals(one.dataKey));
  }
  assert.deepEqual(calls, ['generate', 'unwrap']);
  await keys.create({ ...target, bucket: 'another' });
  assert.deepEqual(calls, ['generate', 'unwrap', 'generate']);
  nowMs = 5 * 60_000;
  await keys.create(target);
  for (const one of made) await keys.unwrap(one.encryption, undefined);
  assert.deepEqual(calls.slice(3), ['generate', 'unwrap']);
});

test('an encryption context is a JSON object of strings in base64, and order does not matter', () => {
  const same = canonicalContext(base64({ a: '1', b: '2' }));
  assert.equal(canonicalContext(base64({ b: '2', a: '1' })), same);
  for (const wrong of [1, 'x', null, [], ['a'], { a: 1 }, { a: null }, { a: {} }]) {
    assert.equal(canonicalContext(base64(wrong)), undefined, JSON.stringify(wrong));
  }
  for (const wrong of ['', '{}', 'e30', Buffer.from([0xff, 0xfe]).toString('base64')]) {
    assert.equal(canonicalContext(wrong), undefined, wrong);
  }
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.string()), (context) => {
      assert.notEqual(canonicalContext(base64(context)), undefined);
    }),
  );
  assert.notEqual(
    canonicalContext(base64({ a: 'b","c' })),
    canonicalContext(base64({ a: 'b', c: '' })),
  );
});

test('keys are written as base64 or hex of 32 bytes, and errors about them do not show them', () => {
  const bytes = randomBytes(32);
  const texts = [bytes.toString('base64'), bytes.toString('hex'), ` ${bytes.toString('hex')}\n`];
  for (const text of texts) assert.deepEqual(parseKeyText(text), bytes);
  const [one] = masterKeys(texts);
  assert.match(one?.id ?? '', /^m[0-9a-f]{16}$/);
  assert.equal(masterKeyOf(createSecretKey(bytes)).id, one?.id);
  for (const wrong of ['', 'secret', bytes.toString('base64url'), bytes.toString('hex').slice(2)]) {
    assert.equal(parseKeyText(wrong), undefined);
    assert.throws(
      () => masterKeys([wrong]),
      (error: Error) => wrong === '' || !error.message.includes(wrong),
    );
    const open = { effects: systemEffects, fetch };
    assert.throws(
      () => openKeyring({ masterKeys: [], kms: { keys: [`name=${wrong}`] } }, open),
      (error: Error) => wrong === '' || !error.message.includes(wrong),
    );
  }
});

test('a KMS key can be named by an ARN', async () => {
  const key = randomBytes(32).toString('base64');
  const keys = openKeyring(
    { masterKeys: [], kms: { keys: [`k1=${key}`] } },
    { effects: systemEffects, fetch },
  );
  for (const keyId of [
    'k1',
    'arn:aws:kms:eu-west-1:123456789012:key/k1',
    'arn:aws:kms:::alias/k1',
  ]) {
    const { dataKey, encryption } = await keys.create({ ...KMS, keyId });
    assert.equal(encryption.keyId, keyId, 'shown as it was named');
    assert.ok((await keys.unwrap(encryption, undefined)).equals(dataKey));
  }
  await assert.rejects(keys.create({ ...KMS, keyId: 'arn:aws:s3:::key/k1' }), is('unknown-key'));
});

test('a derived key depends on its secret and all of its info', () => {
  const secret = keyOfByte(1);
  const derived = deriveKey(secret, Buffer.from('a'));
  assert.ok(derived.equals(deriveKey(secret, Buffer.from('a'))));
  assert.ok(!derived.equals(deriveKey(secret, Buffer.from('b'))));
  assert.ok(!derived.equals(deriveKey(keyOfByte(2), Buffer.from('a'))));
  assert.ok(!derived.equals(secret));
});
