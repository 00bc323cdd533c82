import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../base/failure.ts';
import type { NewAccount } from '../admin-protocol.ts';
import { ACCESS_KEYS_MAX } from '../protocol.ts';
import { createWorld, value } from './test-support.ts';

const ID = 'c0'.repeat(32);
const SECRET = 'a-secret-of-some-length';
const ANNA: NewAccount = {
  id: ID,
  number: '123456789012',
  displayName: 'anna',
  email: 'Anna@Example.com',
  key: { accessKey: 'ANNAKEY', secretKey: SECRET },
};

const fails =
  (kind: 'conflict' | 'invalid' | 'not-found', text: RegExp) =>
  (error: unknown): boolean =>
    isFailure(error, kind) && text.test(error.message);

test('an account is found by everything that names it, and by nothing else', async () => {
  const { catalogue } = await createWorld();
  const shown = await catalogue.accounts.createAccount(ANNA);
  assert.deepEqual(shown.accessKeys, ['ANNAKEY']);
  assert.ok(!JSON.stringify(shown).includes(SECRET));
  const { accessKeys: _, ...account } = shown;
  assert.deepEqual(account, {
    id: ID,
    number: '123456789012',
    displayName: 'anna',
    email: 'anna@example.com',
    createdMs: account.createdMs,
  });
  for (const [by, name] of [
    ['id', ID],
    ['email', 'anna@example.com'],
    ['name', 'anna'],
    ['number', '123456789012'],
  ] as const) {
    assert.deepEqual(
      await catalogue.findAccount({ by, value: name }),
      { revision: 1, account },
      by,
    );
  }
  const found = await catalogue.findAccount({ by: 'accessKey', value: 'ANNAKEY' });
  assert.deepEqual(found, { revision: 1, account, secretKey: SECRET });
  for (const by of ['id', 'email', 'name', 'number', 'accessKey'] as const) {
    for (const other of ['', 'ANNA', 'x'.repeat(10_000), 'zz'.repeat(32)]) {
      assert.deepEqual(await catalogue.findAccount({ by, value: other }), { revision: 1 });
    }
  }
});

test('no two accounts share an id, a number, a name, an address or a key', async () => {
  const { catalogue } = await createWorld();
  await catalogue.accounts.createAccount(ANNA);
  const bert: NewAccount = {
    id: 'be'.repeat(32),
    number: '000000000001',
    displayName: 'bert',
    email: 'bert@example.com',
    key: { accessKey: 'BERTKEY', secretKey: SECRET },
  };
  for (const [what, clash] of [
    ['id', { id: ANNA.id }],
    ['number', { number: ANNA.number }],
    ['name', { displayName: ANNA.displayName }],
    ['e-mail address', { email: 'ANNA@example.com' }],
    ['access key', { key: { accessKey: 'ANNAKEY', secretKey: 'another-secret' } }],
  ] as const) {
    await assert.rejects(
      catalogue.accounts.createAccount({ ...bert, ...clash }),
      fails('conflict', new RegExp(what)),
    );
  }
  assert.equal(
    (await catalogue.findAccount({ by: 'id', value: '' })).revision,
    1,
    'what was refused changed nothing',
  );
  await catalogue.accounts.createAccount(bert);
  await assert.rejects(
    catalogue.accounts.createAccessKey({
      account: 'bert',
      accessKey: 'ANNAKEY',
      secretKey: SECRET,
    }),
    fails('conflict', /access key/),
  );
});

test('what can be no account is refused', async () => {
  const { catalogue } = await createWorld();
  const wrong: Partial<NewAccount>[] = [
    { id: 'AB'.repeat(32) },
    { id: 'short' },
    { number: '12345678901' },
    { number: '1234567890123' },
    { displayName: '' },
    { displayName: ' a' },
    { displayName: 'a\nb' },
    { displayName: 'x'.repeat(129) },
    { email: 'nobody' },
    { email: 'a b@c' },
    { key: { accessKey: 'a', secretKey: SECRET } },
    { key: { accessKey: 'a/b/c', secretKey: SECRET } },
    { key: { accessKey: 'good', secretKey: 'short' } },
    { key: { accessKey: 'good', secretKey: 'sécret-sécret' } },
  ];
  for (const changes of wrong) {
    await assert.rejects(
      catalogue.accounts.createAccount({ ...ANNA, ...changes }),
      (error) => isFailure(error, 'invalid') && !error.message.includes(SECRET),
      JSON.stringify(changes),
    );
  }
  assert.deepEqual(await catalogue.accounts.listAccounts({ limit: 10 }), { accounts: [] });
});

test('keys come and go, each with a new revision, up to a bound', async () => {
  const { catalogue } = await createWorld();
  await catalogue.accounts.createAccount(ANNA);
  const add = (accessKey: string) =>
    catalogue.accounts.createAccessKey({
      account: ID,
      accessKey,
      secretKey: `secret-${accessKey}`,
    });
  for (let index = 1; index < ACCESS_KEYS_MAX; index++) await add(`KEY${index}`);
  await assert.rejects(add('TOOMUCH'), fails('conflict', /at most/));
  const before = (await catalogue.findAccount({ by: 'id', value: '' })).revision;
  assert.equal(before, ACCESS_KEYS_MAX);
  await catalogue.accounts.deleteAccessKey({ accessKey: 'ANNAKEY' });
  assert.equal((await catalogue.findAccount({ by: 'id', value: '' })).revision, before + 1);
  const gone = await catalogue.findAccount({ by: 'accessKey', value: 'ANNAKEY' });
  assert.deepEqual(gone, { revision: before + 1 });
  const other = await catalogue.findAccount({ by: 'accessKey', value: 'KEY1' });
  assert.equal(other.secretKey, 'secret-KEY1');
  await assert.rejects(
    catalogue.accounts.deleteAccessKey({ accessKey: 'ANNAKEY' }),
    fails('not-found', /access key/),
  );
});

test('an account that owns buckets stays; without them it goes with all its names', async () => {
  const { catalogue } = await createWorld();
  await catalogue.accounts.createAccount(ANNA);
  value(await catalogue.createBucket({ name: 'annas', owner: ID, region: 'r' }));
  const remove = () => catalogue.accounts.deleteAccount({ account: 'anna' });
  await assert.rejects(remove(), fails('conflict', /owns 1 bucket$/));
  const found = await catalogue.findAccount({ by: 'accessKey', value: 'ANNAKEY' });
  assert.equal(found.secretKey, SECRET);
  value(await catalogue.deleteBucket({ bucket: 'annas' }));
  await remove();
  await assert.rejects(remove(), fails('not-found', /no account anna/));
  for (const [by, name] of [
    ['id', ID],
    ['accessKey', 'ANNAKEY'],
    ['email', 'anna@example.com'],
    ['name', 'anna'],
    ['number', '123456789012'],
  ] as const) {
    assert.equal((await catalogue.findAccount({ by, value: name })).account, undefined);
  }
  await catalogue.accounts.createAccount(ANNA);
});

test('a bucket that is made while its account is deleted: one of the two happens', async () => {
  for (let turn = 0; turn < 20; turn++) {
    const { catalogue } = await createWorld();
    value(await catalogue.createBucket({ name: 'first', owner: 'ff'.repeat(32), region: 'r' }));
    await catalogue.accounts.createAccount(ANNA);
    const [made, deleted] = await Promise.allSettled([
      catalogue.createBucket({ name: 'annas', owner: ID, region: 'r' }),
      catalogue.accounts.deleteAccount({ account: ID }),
    ]);
    assert.equal(made.status, 'fulfilled');
    const { account } = await catalogue.findAccount({ by: 'id', value: ID });
    assert.equal(account === undefined, deleted.status === 'fulfilled');
  }
});

test('accounts are listed in pages, in the order of their ids', async () => {
  const { catalogue } = await createWorld();
  const ids = Array.from({ length: 7 }, (_, index) => String(index).repeat(64));
  for (const [index, id] of ids.entries()) {
    const number = String(index).padStart(12, '0');
    await catalogue.accounts.createAccount({ id, number, displayName: `a${index}` });
  }
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 9 }), async (limit) => {
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await catalogue.accounts.listAccounts({ after, limit });
        assert.ok(page.accounts.length <= limit);
        seen.push(...page.accounts.map(({ id }) => id));
        after = page.next;
      } while (after !== undefined);
      assert.deepEqual(seen, ids);
    }),
  );
});

test('buckets are listed by owner, in pages', async () => {
  const { catalogue } = await createWorld();
  const names = Array.from({ length: 9 }, (_, index) => `bucket-${index}`);
  for (const [index, name] of names.entries()) {
    const owner = index % 3 === 0 ? ID : 'ff'.repeat(32);
    value(await catalogue.createBucket({ name, owner, region: 'r' }));
  }
  for (const limit of [1, 2, 3, 4]) {
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await catalogue.listBuckets({ prefix: 'b', after, limit, owner: ID });
      seen.push(...page.buckets.map(({ name }) => name));
      after = page.next;
    } while (after !== undefined);
    assert.deepEqual(seen, ['bucket-0', 'bucket-3', 'bucket-6']);
  }
});
