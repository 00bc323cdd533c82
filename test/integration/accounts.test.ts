/**
 * Accounts on a cluster of real processes with two gateways: made, listed and deleted by the command,
 * known to every gateway, out everywhere within the second that is promised. What is changed through
 * one gateway counts at the other from the next request on.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3 } from '@aws-sdk/client-s3';
import type { ShownAccount } from '../../meta/admin-protocol.ts';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { clientOf } from '../support/people.ts';
import { exchange, type RawAnswer, requestHead } from '../support/raw.ts';
import { codeOf, refusedWith } from '../support/server.ts';
import { type Keys, sha256, signHeaders } from '../support/sign.ts';

const folder = mkdtempSync(join(tmpdir(), 'ashlar-accounts-'));
const CONFIGURED = { accessKey: 'CONFIGUREDKEY', secretKey: 'secret of the configured account' };
const SECRET = 'a-secret-that-nobody-may-print';
/** Enough that both gateways are asked: one of them gets all of a round once in 512. */
const CONNECTIONS = 10;

let cluster: Cluster;
let root: S3;
const clients: S3[] = [];

before(async () => {
  const accounts = join(folder, 'accounts.yaml');
  writeFileSync(
    accounts,
    `- name: configured\n  accessKey: ${CONFIGURED.accessKey}\n  secretKey: ${CONFIGURED.secretKey}\n  email: con@example.com\n`,
  );
  cluster = await startCluster({
    args: ['--gateways', '2', '--s3-new-buckets', 'open'],
    env: { ASHLAR_S3_ACCOUNTS_FILE: accounts },
  });
  root = client(TEST_KEYS);
});

after(async () => {
  for (const one of clients) one.destroy();
  await cluster?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function client(keys: Keys | undefined): S3 {
  const made = clientOf(cluster.ready().s3, keys);
  clients.push(made);
  return made;
}

interface Made extends ShownAccount {
  accessKey: string;
  secretKey?: string;
}

async function ashlar(code: number, ...args: string[]): Promise<string> {
  const result = await cluster.ashlar(...args);
  assert.equal(result.code, code, `ashlar ${args.join(' ')}: ${result.output}`);
  return result.output;
}

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await ashlar(0, ...args, '--json')) as T;
}

const keysOf = ({ accessKey, secretKey = SECRET }: Made): Keys => ({ accessKey, secretKey });

/** The same signed request on connections of its own, at once: both gateways answer. */
function askAll(keys: Keys | undefined, method: string, path: string): Promise<RawAnswer[]> {
  const { s3 } = cluster.ready();
  const { host } = new URL(s3);
  const [bare = '', query = ''] = path.split('?');
  const headers =
    keys === undefined
      ? { host }
      : signHeaders(
          {
            method,
            path: bare,
            query,
            headers: { host },
            payloadHash: sha256(''),
            now: Date.now(),
          },
          keys,
        );
  const head = requestHead(method, path, headers);
  return Promise.all(Array.from({ length: CONNECTIONS }, () => exchange(s3, head)));
}

const statuses = async (asked: Promise<RawAnswer[]>): Promise<number[]> => [
  ...new Set((await asked).map(({ status }) => status)),
];

test('an account is made with a key that works on every gateway at once', async () => {
  const made = await json<Made>('account', 'create', 'first', '--email', 'First@Example.com');
  assert.match(made.id, /^[0-9a-f]{64}$/);
  assert.match(made.number, /^[0-9]{12}$/);
  assert.equal(made.email, 'first@example.com');
  assert.deepEqual(made.accessKeys, [made.accessKey]);
  assert.deepEqual(await statuses(askAll(keysOf(made), 'GET', '/')), [200]);
  const { Owner } = await client(keysOf(made)).listBuckets({});
  assert.deepEqual(Owner, { ID: made.id, DisplayName: 'first' });
  const wrong = { ...keysOf(made), secretKey: 'not the secret' };
  assert.deepEqual(await statuses(askAll(wrong, 'GET', '/')), [403]);
  const list = await ashlar(0, 'account', 'list');
  assert.match(list, /first/);
  assert.ok(!list.includes(made.secretKey ?? '?'), 'the secret is never shown again');
});

test('ids, numbers and keys can be fixed, and are taken once', async () => {
  const id = createHash('sha256').update('fixed').digest('hex');
  const fixed = ['--id', id, '--number', '123456789012', '--access-key', 'FIXEDKEY'];
  const made = await json<Made>('account', 'create', 'fixed', ...fixed, '--secret-key', SECRET);
  assert.deepEqual([made.id, made.number, made.accessKey], [id, '123456789012', 'FIXEDKEY']);
  assert.equal(made.secretKey, undefined, 'what was given is not printed');
  assert.deepEqual(await statuses(askAll(keysOf(made), 'GET', '/')), [200]);
  for (const clash of [
    ['account', 'create', 'fixed'],
    ['account', 'create', 'other', '--id', id],
    ['account', 'create', 'other', '--number', '123456789012'],
    ['account', 'create', 'other', '--access-key', 'FIXEDKEY'],
    ['account', 'key', 'create', 'first', '--access-key', 'FIXEDKEY'],
  ]) {
    assert.match(await ashlar(1, ...clash), /There is an account with this/);
  }
  await ashlar(1, 'account', 'create', 'other', '--id', 'not an id');
  await ashlar(1, 'account', 'key', 'create', 'nobody');
});

test('accounts of the configuration work without being made, and can be granted things', async () => {
  const configured = client(CONFIGURED);
  await configured.createBucket({ Bucket: 'configured' });
  const email = await json<Made>('account', 'create', 'granted', '--email', 'granted@example.com');
  const name = { Bucket: 'configured', Key: 'a' };
  await configured.putObject({
    ...name,
    Body: 'x',
    GrantRead: 'emailAddress="granted@example.com"',
  });
  await client(keysOf(email)).getObject(name);
  await refusedWith('AccessDenied', client(undefined).getObject(name));
});

test('a key that was deleted is out on every gateway within a second', async () => {
  const made = await json<Made>('account', 'create', 'rotating');
  const second = await json<Made>('account', 'key', 'create', 'rotating');
  const used = client(keysOf(made));
  await used.createBucket({ Bucket: 'rotating' });
  assert.deepEqual(await statuses(askAll(keysOf(made), 'GET', '/rotating')), [200]);
  await ashlar(0, 'account', 'key', 'delete', made.accessKey);
  await sleep(1000);
  for (const { status, code } of await askAll(keysOf(made), 'GET', '/rotating')) {
    assert.deepEqual([status, code], [403, 'InvalidAccessKeyId']);
  }
  assert.deepEqual(await statuses(askAll(keysOf(second), 'GET', '/rotating')), [200]);
});

test('an account that owns buckets cannot be deleted; without them it is gone with its keys', async () => {
  const made = await json<Made>('account', 'create', 'leaving');
  const leaving = client(keysOf(made));
  await leaving.createBucket({ Bucket: 'leaving' });
  assert.match(await ashlar(1, 'account', 'delete', 'leaving', '--yes'), /owns 1 bucket/);
  await leaving.headBucket({ Bucket: 'leaving' });
  await leaving.deleteBucket({ Bucket: 'leaving' });
  await ashlar(0, 'account', 'delete', 'leaving', '--yes');
  await sleep(1000);
  for (const { code } of await askAll(keysOf(made), 'GET', '/')) {
    assert.equal(code, 'InvalidAccessKeyId');
  }
  assert.ok(!(await ashlar(0, 'account', 'list')).includes('leaving'));
  await ashlar(1, 'account', 'delete', 'leaving', '--yes');
});

test('what an ACL or a public access block says counts on every gateway from the next request on', async () => {
  const Bucket = 'races';
  await root.createBucket({ Bucket });
  await root.putObject({ Bucket, Key: 'a', Body: 'x', ACL: 'public-read' });
  const read = () => statuses(askAll(undefined, 'GET', `/${Bucket}/a`));
  const list = () => statuses(askAll(undefined, 'GET', `/${Bucket}?list-type=2`));
  for (let round = 0; round < 8; round++) {
    await root.putBucketAcl({ Bucket, ACL: 'public-read' });
    assert.deepEqual([await list(), await read()], [[200], [200]], `open, round ${round}`);
    const PublicAccessBlockConfiguration = { IgnorePublicAcls: true };
    await root.putPublicAccessBlock({ Bucket, PublicAccessBlockConfiguration });
    assert.deepEqual([await list(), await read()], [[403], [403]], `blocked, round ${round}`);
    await root.deletePublicAccessBlock({ Bucket });
    await root.putBucketAcl({ Bucket, ACL: 'private' });
    await root.putObjectAcl({ Bucket, Key: 'a', ACL: 'private' });
    assert.deepEqual([await list(), await read()], [[403], [403]], `closed, round ${round}`);
    await root.putObjectAcl({ Bucket, Key: 'a', ACL: 'public-read' });
  }
});

test('while rights come and go, nothing is done by a right that is gone', async () => {
  const Bucket = 'coming-and-going';
  const made = await json<Made>('account', 'create', 'writer');
  const writer = client(keysOf(made));
  await root.createBucket({ Bucket });
  let going = true;
  let refused = 0;
  const writing = (async () => {
    for (let n = 0; going; n++) {
      const code = await codeOf(writer.putObject({ Bucket, Key: `w${n}`, Body: 'x' }));
      assert.ok(code === 'ok' || code === 'AccessDenied', code);
      if (code === 'AccessDenied') refused += 1;
    }
  })();
  for (let round = 0; round < 20; round++) {
    await root.putBucketAcl({ Bucket, ACL: 'public-read-write' });
    await root.putBucketAcl({ Bucket, ACL: 'private' });
    // From here on the bucket is closed: what is in it now is all there will be.
    const before = await root.listObjectsV2({ Bucket });
    await sleep(20);
    const later = await root.listObjectsV2({ Bucket });
    assert.equal(later.KeyCount, before.KeyCount, `round ${round}`);
  }
  going = false;
  await writing;
  assert.ok(refused > 0, 'the right was taken away while it was used');
});

test('no secret is in what the processes print, nor in the status', async () => {
  const output = cluster.output() + (await ashlar(0, 'status', '--json'));
  for (const secret of [SECRET, CONFIGURED.secretKey, TEST_KEYS.secretKey]) {
    assert.ok(!output.includes(secret));
  }
});
