/** SSE-KMS with keys that Vault keeps. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ENCRYPTION } from '../support/encryption.ts';
import { refusedWith, useInspectedServer } from '../support/server.ts';
import { startVault, type TestVault } from '../support/vault.ts';

let vault: TestVault;
let token = 'token-of-the-test';
/** The server is configured before the address of the vault is known. */
const settings = {
  address: '',
  mount: 'transit',
  token: () => token,
};
before(async () => {
  vault = await startVault(['photos-key', 'other-key']);
  settings.address = vault.address;
});
after(() => vault.stop());

const server = useInspectedServer({
  config: { encryption: { ...ENCRYPTION, kms: { ...ENCRYPTION.kms, vault: settings } } },
});

const by = (SSEKMSKeyId: string) => ({ ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId });

async function textOf(Bucket: string, Key: string): Promise<string | undefined> {
  return (await server.s3.getObject({ Bucket, Key })).Body?.transformToString();
}

test('objects under keys of the vault are written and read with one call each', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  vault.calls.length = 0;
  const put = await s3.putObject({ Bucket, Key: 'k', Body: 'content', ...by('photos-key') });
  assert.equal(put.SSEKMSKeyId, 'photos-key');
  assert.equal(await textOf(Bucket, 'k'), 'content');
  await s3.headObject({ Bucket, Key: 'k' });
  assert.deepEqual(vault.calls, ['datakey/plaintext', 'decrypt']);
  await s3.putObject({ Bucket, Key: 'local', Body: 'content', ...by('k1') });
  assert.equal(await textOf(Bucket, 'local'), 'content');
  assert.equal(vault.calls.length, 2, 'keys of the configuration need no vault');
});

test('with a bucket key many objects cost two calls', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  vault.calls.length = 0;
  for (let index = 0; index < 5; index++) {
    const kms = { ...by('photos-key'), BucketKeyEnabled: true };
    await s3.putObject({ Bucket, Key: `k${index}`, Body: `content ${index}`, ...kms });
  }
  for (let index = 0; index < 5; index++) {
    assert.equal(await textOf(Bucket, `k${index}`), `content ${index}`);
  }
  assert.deepEqual(vault.calls, ['datakey/plaintext', 'decrypt']);
});

test('a key that the vault does not have is KMS.NotFoundException, and none is made', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  for (const name of ['missing', '../decrypt/photos-key', 'a/b', '', 'x'.repeat(300), 'é']) {
    const call = s3.putObject({ Bucket, Key: 'k', Body: 'x', ...by(name) });
    await refusedWith('KMS.NotFoundException', call);
  }
  assert.deepEqual([...vault.keys.keys()], ['photos-key', 'other-key']);
});

test('a vault that is sealed, refuses or is gone makes errors that say so, and no wrong bytes', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const name = { Bucket, Key: 'k' };
  await s3.putObject({ ...name, Body: 'content', ...by('photos-key') });
  const put = () => s3.putObject({ Bucket, Key: 'new', Body: 'x', ...by('photos-key') });
  for (const fault of [503, 500, 429]) {
    vault.fault = fault;
    await refusedWith('ServiceUnavailable', s3.getObject(name));
    await refusedWith('ServiceUnavailable', put());
  }
  vault.fault = undefined;
  token = 'revoked';
  await refusedWith('AccessDenied', s3.getObject(name));
  await refusedWith('AccessDenied', put());
  token = 'token-of-the-test';
  assert.equal(await textOf(Bucket, 'k'), 'content');
  const kept = vault.keys.get('photos-key') ?? Buffer.alloc(0);
  vault.keys.set('photos-key', Buffer.alloc(32, 1));
  await refusedWith('InternalError', s3.getObject(name));
  vault.keys.set('photos-key', kept);
  assert.equal(await textOf(Bucket, 'k'), 'content');
  assert.ok(!server.log().includes('token-of-the-test') && !server.log().includes('revoked'));
});

test('a vault that does not answer is given up', { timeout: 30_000 }, async () => {
  const Bucket = await server.bucket();
  vault.fault = 'hang';
  const call = server.s3.putObject({ Bucket, Key: 'k', Body: 'x', ...by('photos-key') });
  await refusedWith('ServiceUnavailable', call);
  vault.fault = undefined;
});
