/** Real clients with encryption, against a real `ashlar start`: each mode that the client knows, multipart too. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { customerKey, keyText } from '../support/encryption.ts';
import { hashFile, seededBytes } from '../support/files.ts';
import { installTools } from '../support/packages.ts';

const MIB = 1024 * 1024;
const execute = promisify(execFile);
let cluster: Cluster;
let folder: string;

before(async () => {
  cluster = await startCluster({
    args: ['--bucket', 'clients'],
    env: { ASHLAR_ENCRYPTION_KMS_KEYS: `k1=${keyText('k1')}` },
  });
  folder = mkdtempSync(join(tmpdir(), 'ashlar-clients-'));
  const home = join(folder, 'home');
  mkdirSync(join(home, '.aws'), { recursive: true });
  writeFileSync(
    join(home, '.aws', 'config'),
    '[default]\nregion = us-east-1\ns3 =\n    addressing_style = path\n',
  );
});

after(async () => {
  await cluster?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function run(command: string, args: readonly string[], env = {}): Promise<string> {
  const { stdout } = await execute(command, [...args], {
    env: {
      PATH: '/usr/bin:/bin',
      HOME: join(folder, 'home'),
      AWS_ACCESS_KEY_ID: TEST_KEYS.accessKey,
      AWS_SECRET_ACCESS_KEY: TEST_KEYS.secretKey,
      AWS_EC2_METADATA_DISABLED: 'true',
      ...env,
    },
    maxBuffer: 16 * MIB,
  });
  return stdout;
}

/** Small, and big enough for several parts. */
const SIZES = { small: 1234, big: 21 * MIB + 7 };

function makeFiles(name: string): string {
  const source = join(folder, name);
  mkdirSync(source, { recursive: true });
  for (const [file, size] of Object.entries(SIZES)) {
    writeFileSync(join(source, file), seededBytes(`${name}/${file}`, size));
  }
  return source;
}

async function assertSame(source: string, target: string): Promise<void> {
  for (const file of Object.keys(SIZES)) {
    assert.equal(await hashFile(join(target, file)), await hashFile(join(source, file)), file);
  }
}

const { SSECustomerKey } = customerKey('mine');

describe('aws cli (Debian, old checksum defaults)', () => {
  const skip = installTools([{ path: '/usr/bin/aws', package: 'awscli' }]) ?? false;
  const aws = (...args: string[]): Promise<string> =>
    run('/usr/bin/aws', ['--endpoint-url', cluster.ready().s3, ...args]);
  // The command takes the key as bytes, which a file may hold.
  const withKey = (): string[] => {
    const path = join(folder, 'customer.key');
    writeFileSync(path, Buffer.from(SSECustomerKey, 'base64'));
    return ['--sse-c', 'AES256', '--sse-c-key', `fileb://${path}`];
  };
  const cases: [string, () => string[], () => string[]][] = [
    ['SSE-S3', () => ['--sse', 'AES256'], () => []],
    ['SSE-KMS', () => ['--sse', 'aws:kms', '--sse-kms-key-id', 'k1'], () => []],
    ['SSE-C', withKey, withKey],
  ];
  for (const [mode, writing, reading] of cases) {
    test(`s3 cp with ${mode} up and down, in one piece and in parts`, { skip }, async () => {
      const source = makeFiles(`aws-${mode}`);
      const target = join(folder, `aws-${mode}-back`);
      const there = `s3://clients/aws-${mode}`;
      await aws('s3', 'cp', '--recursive', source, there, '--no-progress', ...writing());
      await aws('s3', 'cp', '--recursive', there, target, '--no-progress', ...reading());
      await assertSame(source, target);
    });
  }

  test('s3api keeps the default encryption of a bucket', { skip }, async () => {
    const rule = { ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } };
    const bucket = ['--bucket', 'aws-default'];
    await aws('s3api', 'create-bucket', ...bucket);
    const configuration = [
      '--server-side-encryption-configuration',
      JSON.stringify({ Rules: [rule] }),
    ];
    await aws('s3api', 'put-bucket-encryption', ...bucket, ...configuration);
    const kept = JSON.parse(await aws('s3api', 'get-bucket-encryption', ...bucket));
    assert.equal(
      kept.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault
        .SSEAlgorithm,
      'AES256',
    );
    const put = JSON.parse(await aws('s3api', 'put-object', ...bucket, '--key', 'k'));
    assert.equal(put.ServerSideEncryption, 'AES256');
  });
});

describe('rclone', () => {
  const skip = installTools([{ path: '/usr/bin/rclone', package: 'rclone' }]) ?? false;
  const rclone = (args: string[], env: Record<string, string>): Promise<string> =>
    run('/usr/bin/rclone', [...args, '--stats=0', '--retries=1'], {
      RCLONE_CONFIG: join(folder, 'rclone.conf'),
      RCLONE_CONFIG_ASHLAR_TYPE: 's3',
      RCLONE_CONFIG_ASHLAR_PROVIDER: 'Minio',
      RCLONE_CONFIG_ASHLAR_ENDPOINT: cluster.ready().s3,
      RCLONE_CONFIG_ASHLAR_ENV_AUTH: 'true',
      RCLONE_CONFIG_ASHLAR_NO_CHECK_BUCKET: 'true',
      ...env,
    });
  // Keys of its own it sends over TLS only.
  const cases: [string, Record<string, string>][] = [
    ['SSE-S3', { RCLONE_CONFIG_ASHLAR_SERVER_SIDE_ENCRYPTION: 'AES256' }],
    [
      'SSE-KMS',
      {
        RCLONE_CONFIG_ASHLAR_SERVER_SIDE_ENCRYPTION: 'aws:kms',
        RCLONE_CONFIG_ASHLAR_SSE_KMS_KEY_ID: 'k1',
      },
    ],
  ];
  for (const [mode, env] of cases) {
    test(`copy and check --download with ${mode}, in one piece and in parts`, {
      skip,
    }, async () => {
      const source = makeFiles(`rclone-${mode}`);
      const there = `ashlar:clients/rclone-${mode}`;
      const small = ['--s3-upload-cutoff=5M', '--s3-chunk-size=5M'];
      await rclone(['copy', source, there, ...small], env);
      await rclone(['check', '--download', source, there], env);
      const target = join(folder, `rclone-${mode}-back`);
      await rclone(['copy', there, target], env);
      await assertSame(source, target);
    });
  }
});

describe('s3cmd', () => {
  const skip = installTools([{ path: '/usr/bin/s3cmd', package: 's3cmd' }]) ?? false;
  test('puts and gets with SSE-S3', { skip }, async () => {
    const source = makeFiles('s3cmd');
    const host = new URL(cluster.ready().s3).host;
    const s3cmd = (...args: string[]): Promise<string> =>
      run('/usr/bin/s3cmd', [
        `--access_key=${TEST_KEYS.accessKey}`,
        `--secret_key=${TEST_KEYS.secretKey}`,
        `--host=${host}`,
        `--host-bucket=${host}`,
        '--no-ssl',
        '--no-progress',
        ...args,
      ]);
    await s3cmd(
      'put',
      '--server-side-encryption',
      '--recursive',
      `${source}/`,
      's3://clients/s3cmd/',
    );
    const target = join(folder, 's3cmd-back');
    mkdirSync(target);
    await s3cmd('get', '--recursive', 's3://clients/s3cmd/', `${target}/`);
    await assertSame(source, target);
  });
});
