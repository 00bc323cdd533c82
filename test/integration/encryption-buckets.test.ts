/** Default encryption of buckets, and of gateways for those without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServerSideEncryptionRule } from '@aws-sdk/client-s3';
import { customerKey, ENCRYPTION, saidOf, shown } from '../support/encryption.ts';
import { refusedWith, sdk, useInspectedServer } from '../support/server.ts';

const server = useInspectedServer({ config: { encryption: ENCRYPTION } });
const encrypting = useInspectedServer({
  config: { encryption: { ...ENCRYPTION, default: 'AES256' } },
});
const withoutKeys = useInspectedServer({ config: { encryption: undefined } });
const withDefaultKey = useInspectedServer({
  config: { encryption: { ...ENCRYPTION, kms: { ...ENCRYPTION.kms, defaultKey: 'k1' } } },
});

const SSE_S3 = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' as const } };
const SSE_KMS = {
  ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' as const, KMSMasterKeyID: 'k1' },
};

const put = (Bucket: string, ...Rules: ServerSideEncryptionRule[]) =>
  server.s3.putBucketEncryption({ Bucket, ServerSideEncryptionConfiguration: { Rules } });

async function rulesOf(Bucket: string, s3 = server.s3) {
  return (await s3.getBucketEncryption({ Bucket })).ServerSideEncryptionConfiguration?.Rules;
}

test('PutBucketEncryption, GetBucketEncryption and DeleteBucketEncryption keep the default of a bucket', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const none = 'ServerSideEncryptionConfigurationNotFoundError';
  await refusedWith(none, s3.getBucketEncryption({ Bucket }));
  await s3.deleteBucketEncryption({ Bucket });
  await put(Bucket, SSE_S3);
  assert.deepEqual(await rulesOf(Bucket), [{ ...SSE_S3, BucketKeyEnabled: false }]);
  await put(Bucket, { ...SSE_KMS, BucketKeyEnabled: true });
  assert.deepEqual(await rulesOf(Bucket), [{ ...SSE_KMS, BucketKeyEnabled: true }]);
  const blocked = { BlockedEncryptionTypes: { EncryptionType: ['SSE-C' as const] } };
  await put(Bucket, { ...SSE_S3, ...blocked });
  assert.deepEqual(await rulesOf(Bucket), [{ ...SSE_S3, BucketKeyEnabled: false, ...blocked }]);
  await s3.deleteBucketEncryption({ Bucket });
  await refusedWith(none, s3.getBucketEncryption({ Bucket }));
  const missing = { Bucket: 'no-such-bucket' };
  await refusedWith('NoSuchBucket', put(missing.Bucket, SSE_S3));
  await refusedWith('NoSuchBucket', s3.getBucketEncryption(missing));
  await refusedWith('NoSuchBucket', s3.deleteBucketEncryption(missing));
});

test('the first write after PutBucketEncryption has the new mode, whatever kind of write it is', async () => {
  const { s3 } = server;
  const body = Buffer.alloc(3 * 1024 * 1024 + 1, 'secret');
  const kinds = ['put', 'copy', 'upload', 'itself'] as const;
  for (const kind of kinds) {
    const Bucket = await server.bucket();
    await s3.putObject({ Bucket, Key: 'before', Body: body });
    const first = async (Key: string) => {
      if (kind === 'put') return await s3.putObject({ Bucket, Key, Body: body });
      if (kind === 'upload') return await s3.createMultipartUpload({ Bucket, Key });
      const target = kind === 'itself' ? 'before' : Key;
      return await s3.copyObject({ Bucket, Key: target, CopySource: `${Bucket}/before` });
    };
    await put(Bucket, SSE_S3);
    assert.deepEqual(saidOf(await first('a')), shown('sse-s3'), kind);
    await put(Bucket, SSE_KMS);
    assert.deepEqual(saidOf(await first('b')), shown('sse-kms'), kind);
    await s3.deleteBucketEncryption({ Bucket });
    if (kind === 'itself') await refusedWith('InvalidRequest', first('c'));
    else assert.deepEqual(saidOf(await first('c')), {}, kind);
    const listed = await s3.listObjectsV2({ Bucket });
    for (const { Key, Size } of listed.Contents ?? []) {
      assert.equal(Size, body.length);
      const got = await s3.getObject({ Bucket, Key });
      assert.ok(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(body), Key);
    }
  }
});

test('writes that race changes of the default have the mode of the moment, and all can be read', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  /** Counts changes: even while nothing changes, odd while one is on its way. */
  let changes = 0;
  let encrypts = false;
  let going = true;
  const modes = new Map<string, boolean>();
  const writer = async (lane: number) => {
    for (let n = 0; going; n++) {
      const Key = `${lane}-${n}`;
      const [before, expected] = [changes, encrypts];
      const put = await s3.putObject({ Bucket, Key, Body: `content of ${Key}` });
      const encrypted = put.ServerSideEncryption === 'AES256';
      if (before === changes && before % 2 === 0) assert.equal(encrypted, expected, Key);
      modes.set(Key, encrypted);
    }
  };
  const changer = async () => {
    try {
      for (let round = 0; round < 20; round++) {
        changes += 1;
        if (encrypts) await s3.deleteBucketEncryption({ Bucket });
        else await put(Bucket, SSE_S3);
        encrypts = !encrypts;
        changes += 1;
        await new Promise((done) => setTimeout(done, 20));
      }
    } finally {
      going = false;
    }
  };
  await Promise.all([changer(), ...Array.from({ length: 4 }, (_, lane) => writer(lane))]);
  assert.ok([...modes.values()].includes(true) && [...modes.values()].includes(false));
  for (const [Key, encrypted] of modes) {
    const got = await s3.getObject({ Bucket, Key });
    assert.equal(await got.Body?.transformToString(), `content of ${Key}`);
    assert.equal(got.ServerSideEncryption === 'AES256', encrypted, Key);
  }
});

test('what the request asks for comes before the default of the bucket', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await put(Bucket, { ...SSE_KMS, BucketKeyEnabled: true });
  const name = { Bucket, Key: 'k', Body: 'x' };
  const explicit = await s3.putObject({ ...name, ServerSideEncryption: 'AES256' });
  assert.deepEqual(saidOf(explicit), shown('sse-s3'));
  assert.deepEqual(saidOf(await s3.putObject({ ...name, ...customerKey('mine') })), shown('sse-c'));
  const withKey = { ...shown('sse-kms'), BucketKeyEnabled: true };
  assert.deepEqual(saidOf(await s3.putObject(name)), withKey);
  const kms = { ...name, ServerSideEncryption: 'aws:kms' as const, SSEKMSKeyId: 'k2' };
  assert.deepEqual(saidOf(await s3.putObject(kms)), { ...withKey, SSEKMSKeyId: 'k2' });
  const without = await s3.putObject({ ...kms, BucketKeyEnabled: false });
  assert.deepEqual(saidOf(without), { ...shown('sse-kms'), SSEKMSKeyId: 'k2' });
});

test('a bucket that blocks keys of clients refuses them in every write, and still reads', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  const keys = customerKey('mine');
  const name = { Bucket, Key: 'before' };
  await s3.putObject({ ...name, Body: 'x', ...keys });
  const open = await s3.createMultipartUpload({ Bucket, Key: 'open', ...keys });
  await put(Bucket, { BlockedEncryptionTypes: { EncryptionType: ['SSE-C'] } });
  const part = { Bucket, Key: 'open', UploadId: open.UploadId, PartNumber: 1, ...keys };
  await refusedWith('AccessDenied', s3.putObject({ Bucket, Key: 'k', Body: 'x', ...keys }));
  await refusedWith('AccessDenied', s3.createMultipartUpload({ Bucket, Key: 'k', ...keys }));
  await refusedWith('AccessDenied', s3.uploadPart({ ...part, Body: 'x' }));
  const CopySource = `${Bucket}/before`;
  await refusedWith('AccessDenied', s3.copyObject({ Bucket, Key: 'k', CopySource, ...keys }));
  const got = await s3.getObject({ ...name, ...keys });
  assert.equal(await got.Body?.transformToString(), 'x');
  assert.deepEqual(saidOf(await s3.putObject({ Bucket, Key: 'k', Body: 'x' })), {});
  await put(Bucket, { BlockedEncryptionTypes: { EncryptionType: ['NONE'] } });
  await s3.putObject({ Bucket, Key: 'k', Body: 'x', ...keys });
});

test('PutBucketEncryption refuses what it could not keep', async () => {
  const Bucket = await server.bucket();
  await put(Bucket, SSE_S3);
  await refusedWith('MalformedXML', put(Bucket));
  await refusedWith('MalformedXML', put(Bucket, SSE_S3, SSE_S3));
  await refusedWith('MalformedXML', put(Bucket, {}));
  const by = (rule: object) => ({ ApplyServerSideEncryptionByDefault: rule }) as never;
  await refusedWith('MalformedXML', put(Bucket, by({ SSEAlgorithm: 'AES128' })));
  await refusedWith('NotImplemented', put(Bucket, by({ SSEAlgorithm: 'aws:kms:dsse' })));
  const odd = { SSEAlgorithm: 'AES256', KMSMasterKeyID: 'k1' };
  await refusedWith('InvalidArgument', put(Bucket, by(odd)));
  const types = (...EncryptionType: string[]) =>
    ({ BlockedEncryptionTypes: { EncryptionType } }) as never;
  await refusedWith('MalformedXML', put(Bucket, types('SSE-KMS')));
  await refusedWith('MalformedXML', put(Bucket, types('NONE', 'SSE-C')));
  assert.deepEqual(await rulesOf(Bucket), [{ ...SSE_S3, BucketKeyEnabled: false }]);
});

test('a default with a KMS key that is not there makes writes fail, not plain', async () => {
  const { s3 } = server;
  const Bucket = await server.bucket();
  await put(Bucket, {
    ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms', KMSMasterKeyID: 'gone' },
  });
  await refusedWith('KMS.NotFoundException', s3.putObject({ Bucket, Key: 'k', Body: 'x' }));
  await put(Bucket, { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'aws:kms' } });
  await refusedWith('KMS.NotFoundException', s3.putObject({ Bucket, Key: 'k', Body: 'x' }));
  assert.equal((await s3.listObjectsV2({ Bucket })).KeyCount, 0);
});

test('the default KMS key serves those who name none', async () => {
  const { s3 } = withDefaultKey;
  const Bucket = await withDefaultKey.bucket();
  const put = { Bucket, Key: 'k', Body: 'x', ServerSideEncryption: 'aws:kms' as const };
  assert.deepEqual(saidOf(await s3.putObject(put)), shown('sse-kms'));
});

test('a gateway that encrypts by default does so in every bucket, and GetBucketEncryption says it', async () => {
  const { s3 } = encrypting;
  const Bucket = await encrypting.bucket();
  assert.deepEqual(await rulesOf(Bucket, s3), [{ ...SSE_S3, BucketKeyEnabled: false }]);
  assert.deepEqual(saidOf(await s3.putObject({ Bucket, Key: 'k', Body: 'x' })), shown('sse-s3'));
  await s3.putBucketEncryption({
    Bucket,
    ServerSideEncryptionConfiguration: { Rules: [SSE_KMS] },
  });
  assert.deepEqual(saidOf(await s3.putObject({ Bucket, Key: 'k', Body: 'x' })), shown('sse-kms'));
});

test('a gateway without keys refuses what needs them, and takes keys of clients', async () => {
  const { s3 } = withoutKeys;
  const Bucket = await withoutKeys.bucket();
  const name = { Bucket, Key: 'k', Body: 'x' };
  const refused = await refusedWith(
    'NotImplemented',
    s3.putObject({ ...name, ServerSideEncryption: 'AES256' }),
  );
  assert.match(refused.message, /encryption\.masterKeys/);
  await refusedWith(
    'KMS.NotFoundException',
    s3.putObject({ ...name, ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'k1' }),
  );
  await s3.putObject({ ...name, ...customerKey('mine') });
});

const bare = (rule: 'never' | 'always') =>
  useInspectedServer({
    config: {
      encryption: ENCRYPTION,
      s3: {
        host: '127.0.0.1',
        port: 0,
        sharePort: false,
        region: 'us-east-1',
        domains: [],
        insecureCustomerKeys: rule,
      },
    },
  });
const careful = bare('never');

test('a gateway may refuse keys of clients over connections without TLS', async () => {
  const s3 = sdk(careful.endpoint);
  const Bucket = await careful.bucket();
  const name = { Bucket, Key: 'k' };
  const keys = customerKey('mine');
  await s3.putObject({ ...name, Body: 'x' });
  for (const call of [
    () => s3.putObject({ ...name, Body: 'x', ...keys }),
    () => s3.createMultipartUpload({ ...name, ...keys }),
    () => s3.getObject({ ...name, ...keys }),
    () => s3.copyObject({ ...name, CopySource: `${Bucket}/k`, ...keys }),
  ]) {
    const error = await refusedWith('InvalidRequest', call());
    assert.match(error.message, /secure connection/);
  }
  s3.destroy();
});
