import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Failure } from '../../../base/failure.ts';
import type { AccountQuery, AccountRecord, FoundAccount } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { GatewayAccounts, withLookup } from './accounts.ts';
import { EXAMPLE } from './test-support.ts';

const ANNA: AccountRecord = {
  id: 'a0'.repeat(32),
  number: '000000000001',
  displayName: 'anna',
  email: 'anna@example.com',
  createdMs: 0,
};

/** The metadata service's side: accounts with keys, the questions it got, and a clock. */
function world() {
  const keys = new Map([['ANNAKEY', 'anna-secret']]);
  const state = { revision: 1, nowMs: 0, asked: [] as string[], away: false };
  /** Answers wait here while something is set. */
  let gate: Promise<void> | undefined;
  const meta = {
    async findAccount({ by, value }: AccountQuery): Promise<FoundAccount> {
      state.asked.push(value === '' ? 'revision' : `${by} ${value}`);
      const { revision } = state;
      const secretKey = keys.get(value);
      const isAnna = Object.values<unknown>({ ...ANNA }).includes(value);
      await gate;
      if (state.away) throw new Failure('unavailable', 'away');
      if (by === 'accessKey') {
        return secretKey === undefined ? { revision } : { revision, account: ANNA, secretKey };
      }
      return isAnna ? { revision, account: ANNA } : { revision };
    },
  };
  const accounts = new GatewayAccounts({
    fixed: [EXAMPLE],
    meta,
    clock: { monotonic: () => state.nowMs },
  });
  return {
    keys,
    state,
    accounts,
    /** Makes answers wait until the returned function is called. */
    hold(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      return () => {
        gate = undefined;
        resolve();
      };
    },
    change(): void {
      state.revision += 1;
    },
  };
}

test('keys of the configuration are known at once, and never asked for', async () => {
  const { accounts, state } = world();
  assert.equal(accounts.find(EXAMPLE.accessKey), EXAMPLE);
  assert.equal(await accounts.load(EXAMPLE.accessKey), true);
  assert.equal(accounts.known('id', EXAMPLE.account.id), EXAMPLE.account);
  assert.equal(await accounts.account('number', EXAMPLE.account.number), EXAMPLE.account);
  assert.deepEqual(state.asked, []);
  for (const other of ['', 'constructor', '__proto__', EXAMPLE.accessKey.toLowerCase()]) {
    assert.equal(accounts.find(other), undefined);
  }
});

test('a key is looked up once, by all who want it at once, and known afterwards', async () => {
  const { accounts, state } = world();
  assert.equal(accounts.find('ANNAKEY'), undefined);
  await Promise.all(Array.from({ length: 20 }, () => accounts.load('ANNAKEY')));
  assert.deepEqual(state.asked, ['revision', 'accessKey ANNAKEY']);
  const found = accounts.find('ANNAKEY');
  assert.equal(found?.secretKey, 'anna-secret');
  assert.deepEqual(found?.account, {
    id: ANNA.id,
    number: ANNA.number,
    displayName: 'anna',
    email: 'anna@example.com',
    root: false,
  });
  assert.equal(await accounts.load('ANNAKEY'), true);
  assert.equal(state.asked.length, 2);
});

test('a key that nobody has is asked for once per state of the accounts', async () => {
  const { accounts, state, keys, change } = world();
  assert.equal(await accounts.load('NOBODY'), false);
  assert.equal(await accounts.load('NOBODY'), false);
  assert.deepEqual(state.asked, ['revision', 'accessKey NOBODY']);
  keys.set('NOBODY', 'somebody now');
  change();
  state.nowMs += 1001;
  assert.equal(await accounts.load('NOBODY'), true);
});

test('what is kept counts for a second, and is confirmed before by whoever uses it', async () => {
  const { accounts, state } = world();
  await accounts.load('ANNAKEY');
  state.nowMs = 499;
  assert.ok(accounts.find('ANNAKEY'));
  assert.equal(state.asked.length, 2, 'fresh enough');
  state.nowMs = 600;
  for (let time = 0; time < 10; time++) assert.ok(accounts.find('ANNAKEY'));
  assert.deepEqual(state.asked.slice(2), ['revision'], 'one question for all');
  await new Promise(setImmediate);
  state.nowMs = 1500;
  assert.ok(accounts.find('ANNAKEY'), 'holds a second from the question on');
  state.nowMs = 5000;
  assert.equal(accounts.find('ANNAKEY'), undefined, 'nobody has confirmed it');
  assert.equal(await accounts.load('ANNAKEY'), true);
  assert.equal(state.asked.at(-1), 'revision', 'nothing has changed: not looked up again');
});

test('a key that was deleted is out within a second, whatever happens', async () => {
  const { accounts, state, keys, change } = world();
  await accounts.load('ANNAKEY');
  const deletedMs = (state.nowMs = 300);
  keys.delete('ANNAKEY');
  change();
  for (; state.nowMs <= deletedMs + 3000; state.nowMs += 50) {
    const known = accounts.find('ANNAKEY') !== undefined;
    await new Promise(setImmediate);
    if (known) assert.ok(state.nowMs <= deletedMs + 1000, `${state.nowMs - deletedMs} ms`);
  }
  assert.equal(await accounts.load('ANNAKEY'), false);
});

test('without the metadata service nobody is believed for longer than a second', async () => {
  const { accounts, state } = world();
  await accounts.load('ANNAKEY');
  state.away = true;
  state.nowMs = 900;
  assert.ok(accounts.find('ANNAKEY'));
  await new Promise(setImmediate);
  state.nowMs = 1001;
  assert.equal(accounts.find('ANNAKEY'), undefined);
  await assert.rejects(accounts.load('ANNAKEY'), /away/);
  state.away = false;
  assert.equal(await accounts.load('ANNAKEY'), true);
});

test('an answer that was overtaken by a change is not kept', async () => {
  const { accounts, state, keys, change, hold } = world();
  await accounts.load('OTHER');
  state.nowMs = 100;
  const release = hold();
  // Read in the old state, on its way while the key is deleted and the change noticed.
  const late = accounts.load('ANNAKEY');
  await new Promise(setImmediate);
  keys.delete('ANNAKEY');
  change();
  state.nowMs = 1200;
  const noticed = accounts.load('THIRD');
  release();
  await noticed;
  assert.equal(await late, false);
  assert.equal(accounts.find('ANNAKEY'), undefined);
});

test('a flood of keys that nobody has does not reach the metadata service', async () => {
  const { accounts, state, hold } = world();
  await accounts.load('ANNAKEY');
  state.asked.length = 0;
  const release = hold();
  const loads = Array.from({ length: 1000 }, (_, index) => accounts.load(`FLOOD${index}`));
  const settled = Promise.allSettled(loads);
  await new Promise(setImmediate);
  assert.equal(state.asked.length, 256);
  assert.ok(accounts.find('ANNAKEY'), 'who is known goes on');
  release();
  const refused = (await settled).filter(
    (one) => one.status === 'rejected' && (one.reason as S3Error).code === 'SlowDown',
  );
  assert.equal(refused.length, 744);
});

test('accounts are found by id, e-mail address and number, and named', async () => {
  const { accounts, state } = world();
  for (const by of ['id', 'email', 'number'] as const) {
    assert.equal((await accounts.account(by, ANNA[by] ?? ''))?.displayName, 'anna');
    assert.equal(await accounts.account(by, 'nobody'), undefined);
  }
  const names = await accounts.names([ANNA.id, ANNA.id, EXAMPLE.account.id, 'c0'.repeat(32)]);
  assert.deepEqual(
    [...names],
    [
      [EXAMPLE.account.id, 'example'],
      [ANNA.id, 'anna'],
    ].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
  );
  assert.equal(accounts.known('id', ANNA.id)?.displayName, 'anna');
  const before = state.asked.length;
  await accounts.names([ANNA.id, EXAMPLE.account.id, 'c0'.repeat(32)]);
  assert.equal(state.asked.length, before);
});

test('a signature is checked again after a lookup, and only when the key was all that was wrong', async () => {
  const { accounts, state } = world();
  const verify = (accessKey: string) => () => {
    const found = accounts.find(accessKey);
    if (found !== undefined) return found.account.displayName;
    throw new S3Error('InvalidAccessKeyId', { details: { AWSAccessKeyId: accessKey } });
  };
  assert.equal(withLookup(accounts, verify(EXAMPLE.accessKey)), 'example', 'at once');
  assert.equal(await withLookup(accounts, verify('ANNAKEY')), 'anna');
  assert.equal(withLookup(accounts, verify('ANNAKEY')), 'anna', 'at once from now on');
  await assert.rejects(Promise.resolve(withLookup(accounts, verify('NOBODY'))), /does not exist/);
  const asked = state.asked.length;
  for (const impossible of ['a,b', 'x'.repeat(129), 'a/b', 'ab']) {
    assert.throws(() => withLookup(accounts, verify(impossible)), S3Error);
  }
  const wrong = () => {
    throw new S3Error('SignatureDoesNotMatch');
  };
  assert.throws(() => withLookup(accounts, wrong), S3Error);
  assert.equal(state.asked.length, asked);
});
