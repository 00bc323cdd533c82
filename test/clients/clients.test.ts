/**
 * Real clients, as people use them, against a real `ashlar start`. Each verifies content by hash.
 * Debian's awscli (2.9) has the old checksum defaults, the SDKs of the other tests the new ones.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client as MinioClient } from 'minio';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { hashFile, hashTree, seededBytes, writeTree } from '../support/files.ts';
import { installTools } from '../support/packages.ts';

const MIB = 1024 * 1024;

/** Odd names and sizes around the block (1 MiB) and multipart (8 MiB) limits. */
const TREE = {
  'empty.txt': 0,
  'one byte': 1,
  'block.bin': MIB,
  'block+1.bin': MIB + 1,
  'deep/er/and deeper/ünïcödé €.txt': 4097,
  'deep/plus+and&amp;%25.txt': 300,
  'deep/~tilde(1)!.txt': 12_345,
  'big.bin': 21 * MIB + 7,
};

let cluster: Cluster;
let folder: string;
let environment: Record<string, string | undefined>;

before(async () => {
  cluster = await startCluster();
  folder = mkdtempSync(join(tmpdir(), 'ashlar-clients-'));
  const home = join(folder, 'home');
  mkdirSync(join(home, '.aws'), { recursive: true });
  writeFileSync(
    join(home, '.aws', 'config'),
    '[default]\nregion = us-east-1\ns3 =\n    addressing_style = path\n',
  );
  environment = {
    PATH: '/usr/bin:/bin',
    HOME: home,
    AWS_ACCESS_KEY_ID: TEST_KEYS.accessKey,
    AWS_SECRET_ACCESS_KEY: TEST_KEYS.secretKey,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
});

after(async () => {
  await cluster?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

function run(command: string, args: readonly string[], env = {}, input?: string): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(command, [...args], {
      env: { ...environment, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const outcome: Outcome = { code: null, stdout: '', stderr: '' };
    child.stdout?.on('data', (chunk: Buffer) => {
      outcome.stdout += chunk.toString('utf8');
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      outcome.stderr += chunk.toString('utf8');
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
    child.stdin?.end(input ?? '');
  });
}

async function ok(
  command: string,
  args: readonly string[],
  env = {},
  input?: string,
): Promise<string> {
  const outcome = await run(command, args, env, input);
  assert.equal(
    outcome.code,
    0,
    `${command} ${args.join(' ')}\n${outcome.stdout.slice(-2000)}\n${outcome.stderr.slice(-4000)}`,
  );
  return outcome.stdout;
}

function makeTree(name: string): { source: string; target: string; hashes: Map<string, string> } {
  const source = join(folder, name, 'source');
  const target = join(folder, name, 'target');
  mkdirSync(source, { recursive: true });
  mkdirSync(target, { recursive: true });
  return { source, target, hashes: writeTree(source, TREE) };
}

const sorted = (map: Map<string, string>): [string, string][] =>
  [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe('aws cli (Debian, old checksum defaults)', () => {
  const skip = installTools([{ path: '/usr/bin/aws', package: 'awscli' }]) ?? false;
  const aws = (...args: string[]): Promise<string> =>
    ok('/usr/bin/aws', ['--endpoint-url', cluster.ready().s3, ...args]);

  test('s3 sync uploads a tree and downloads it byte for byte', { skip }, async () => {
    const { source, target, hashes } = makeTree('aws');
    await aws('s3', 'mb', 's3://aws-cli');
    await aws('s3', 'sync', source, 's3://aws-cli/tree', '--no-progress');
    await aws('s3', 'sync', 's3://aws-cli/tree', target, '--no-progress');
    assert.deepEqual(sorted(await hashTree(target)), sorted(hashes));
    const again = await aws('s3', 'sync', source, 's3://aws-cli/tree', '--no-progress');
    assert.equal(again.includes('upload:'), false, `a second sync uploaded again: ${again}`);
  });

  test('s3 cp, mv, ls, presign and rm do what they say', { skip }, async () => {
    const file = join(folder, 'aws-one.bin');
    writeFileSync(file, seededBytes('aws-one', 9 * MIB));
    await aws('s3', 'mb', 's3://aws-more');
    await aws('s3', 'cp', file, 's3://aws-more/a', '--no-progress');
    await aws('s3', 'cp', 's3://aws-more/a', 's3://aws-more/b', '--no-progress');
    await aws('s3', 'mv', 's3://aws-more/b', 's3://aws-more/dir/c', '--no-progress');
    const listing = await aws('s3', 'ls', '--recursive', 's3://aws-more');
    assert.match(listing, / a\n/);
    assert.match(listing, / dir\/c\n/);
    assert.doesNotMatch(listing, / b\n/);
    const url = (await aws('s3', 'presign', 's3://aws-more/dir/c')).trim();
    const body = Buffer.from(await (await fetch(url)).arrayBuffer());
    assert.deepEqual(body, readFileSync(file));
    await aws('s3', 'rm', '--recursive', 's3://aws-more');
    await aws('s3', 'rb', 's3://aws-more');
  });

  test('s3api sees metadata, ranges, conditional writes and versioning state', {
    skip,
  }, async () => {
    const file = join(folder, 'aws-api.txt');
    writeFileSync(file, 'hello conditional world');
    await aws('s3api', 'create-bucket', '--bucket', 'aws-api');
    await aws(
      's3api',
      'put-object',
      '--bucket',
      'aws-api',
      '--key',
      'k',
      '--body',
      file,
      '--metadata',
      'colour=blue',
      '--content-type',
      'text/x-test',
      '--checksum-algorithm',
      'SHA256',
    );
    const head = JSON.parse(
      await aws(
        's3api',
        'head-object',
        '--bucket',
        'aws-api',
        '--key',
        'k',
        '--checksum-mode',
        'ENABLED',
      ),
    );
    assert.equal(head.Metadata.colour, 'blue');
    assert.equal(head.ContentType, 'text/x-test');
    assert.equal(
      head.ChecksumSHA256,
      createHash('sha256').update('hello conditional world').digest('base64'),
    );
    const out = join(folder, 'aws-range');
    await aws(
      's3api',
      'get-object',
      '--bucket',
      'aws-api',
      '--key',
      'k',
      '--range',
      'bytes=6-16',
      out,
    );
    assert.equal(readFileSync(out, 'utf8'), 'conditional');
    assert.equal((await aws('s3api', 'get-bucket-versioning', '--bucket', 'aws-api')).trim(), '');
  });
});

describe('rclone', () => {
  const skip = installTools([{ path: '/usr/bin/rclone', package: 'rclone' }]) ?? false;
  const rclone = async (...args: string[]): Promise<Outcome> => {
    const env = {
      RCLONE_CONFIG: join(folder, 'rclone.conf'),
      RCLONE_CONFIG_ASHLAR_TYPE: 's3',
      RCLONE_CONFIG_ASHLAR_PROVIDER: 'Minio',
      RCLONE_CONFIG_ASHLAR_ENDPOINT: cluster.ready().s3,
      RCLONE_CONFIG_ASHLAR_ENV_AUTH: 'true',
    };
    const outcome = await run('/usr/bin/rclone', [...args, '--stats=0', '-v'], env);
    assert.equal(outcome.code, 0, `rclone ${args.join(' ')}\n${outcome.stderr.slice(-4000)}`);
    return outcome;
  };

  test('copy, check --download, and a sync that uploads nothing the second time', {
    skip,
  }, async () => {
    const { source, target, hashes } = makeTree('rclone');
    await rclone('mkdir', 'ashlar:rclone');
    await rclone('copy', source, 'ashlar:rclone/tree');
    await rclone('check', '--download', source, 'ashlar:rclone/tree');
    const again = await rclone('sync', source, 'ashlar:rclone/tree');
    assert.doesNotMatch(again.stderr, /Copied|Updated/, 'a second sync copied again');
    await rclone('copy', 'ashlar:rclone/tree', target);
    assert.deepEqual(sorted(await hashTree(target)), sorted(hashes));
  });

  test('server-side copy and move keep the content', { skip }, async () => {
    const { source } = makeTree('rclone-server');
    await rclone('mkdir', 'ashlar:rclone-server');
    await rclone('copy', source, 'ashlar:rclone-server/one');
    await rclone('copy', 'ashlar:rclone-server/one', 'ashlar:rclone-server/two');
    await rclone('check', '--download', source, 'ashlar:rclone-server/two');
    await rclone('move', 'ashlar:rclone-server/two', 'ashlar:rclone-server/three');
    await rclone('check', '--download', source, 'ashlar:rclone-server/three');
    await rclone('purge', 'ashlar:rclone-server');
  });

  test('a big multipart upload with small parts comes back whole', { skip }, async () => {
    const file = join(folder, 'rclone-big');
    mkdirSync(file, { recursive: true });
    writeFileSync(join(file, 'big.bin'), seededBytes('rclone-big', 67 * MIB + 13));
    await rclone('mkdir', 'ashlar:rclone-big');
    await rclone(
      'copy',
      file,
      'ashlar:rclone-big',
      '--s3-upload-cutoff=5M',
      '--s3-chunk-size=5M',
      '--s3-upload-concurrency=4',
    );
    await rclone('check', '--download', file, 'ashlar:rclone-big');
  });
});

describe('s3cmd', () => {
  const skip = installTools([{ path: '/usr/bin/s3cmd', package: 's3cmd' }]) ?? false;
  const s3cmd = (...args: string[]): Promise<string> => {
    const host = new URL(cluster.ready().s3).host;
    return ok('/usr/bin/s3cmd', [
      `--access_key=${TEST_KEYS.accessKey}`,
      `--secret_key=${TEST_KEYS.secretKey}`,
      `--host=${host}`,
      `--host-bucket=${host}`,
      '--no-ssl',
      '--no-progress',
      ...args,
    ]);
  };

  test('puts, gets, copies, lists and deletes', { skip }, async () => {
    const { source, target, hashes } = makeTree('s3cmd');
    await s3cmd('mb', 's3://s3cmd');
    await s3cmd('sync', '--multipart-chunk-size-mb=5', `${source}/`, 's3://s3cmd/tree/');
    await s3cmd('sync', 's3://s3cmd/tree/', `${target}/`);
    assert.deepEqual(sorted(await hashTree(target)), sorted(hashes));
    await s3cmd('cp', 's3://s3cmd/tree/big.bin', 's3://s3cmd/copy.bin');
    assert.match(await s3cmd('info', 's3://s3cmd/copy.bin'), /File size: 22020103/);
    await s3cmd('del', '--recursive', '--force', 's3://s3cmd');
    await s3cmd('rb', 's3://s3cmd');
  });
});

describe('restic', () => {
  const skip = installTools([{ path: '/usr/bin/restic', package: 'restic' }]) ?? false;

  test('backs up, checks every byte, restores and forgets', { skip }, async () => {
    const { source, target, hashes } = makeTree('restic');
    const restic = (...args: string[]): Promise<string> =>
      ok('/usr/bin/restic', ['-r', `s3:${cluster.ready().s3}/restic/repo`, ...args], {
        RESTIC_PASSWORD: 'a password for the test',
        XDG_CACHE_HOME: join(folder, 'restic-cache'),
      });
    await restic('init');
    await restic('backup', source);
    await restic('check', '--read-data');
    await restic('restore', 'latest', '--target', target);
    const restored = join(target, source);
    assert.deepEqual(sorted(await hashTree(restored)), sorted(hashes));
    await restic('forget', '--prune', '--keep-last', '1', 'latest');
    await restic('check');
  });
});

describe('curl with SigV4', () => {
  const skip = installTools([{ path: '/usr/bin/curl', package: 'curl' }]) ?? false;
  const curl = (...args: string[]): Promise<string> =>
    ok('/usr/bin/curl', [
      '-sS',
      '--fail-with-body',
      '--aws-sigv4',
      'aws:amz:us-east-1:s3',
      '--user',
      `${TEST_KEYS.accessKey}:${TEST_KEYS.secretKey}`,
      ...args,
    ]);

  test('puts and gets an object', { skip }, async () => {
    const url = cluster.ready().s3;
    const file = join(folder, 'curl.bin');
    writeFileSync(file, seededBytes('curl', 100_000));
    // curl 7.88 does not send x-amz-content-sha256 by itself, which S3 requires.
    const unsigned = ['-H', 'x-amz-content-sha256: UNSIGNED-PAYLOAD'];
    await curl('-X', 'PUT', ...unsigned, `${url}/curl-bucket`);
    const hash = await hashFile(file);
    await curl('-T', file, '-H', `x-amz-content-sha256: ${hash}`, `${url}/curl-bucket/a/b.bin`);
    const out = join(folder, 'curl.out');
    await curl('-o', out, ...unsigned, `${url}/curl-bucket/a/b.bin`);
    assert.equal(await hashFile(out), hash);
  });
});

describe('minio JavaScript client', () => {
  const client = (): MinioClient => {
    const { hostname, port } = new URL(cluster.ready().s3);
    return new MinioClient({
      endPoint: hostname,
      port: Number(port),
      useSSL: false,
      region: 'us-east-1',
      accessKey: TEST_KEYS.accessKey,
      secretKey: TEST_KEYS.secretKey,
    });
  };

  test('uploads small and multipart objects, stats, lists, copies and removes', async () => {
    const minio = client();
    await minio.makeBucket('minio-js');
    assert.equal(await minio.bucketExists('minio-js'), true);
    const big = seededBytes('minio-big', 70 * MIB);
    await minio.putObject('minio-js', 'small', 'hello', 5, { 'X-Amz-Meta-Colour': 'blue' });
    await minio.putObject('minio-js', 'big', big, big.length);
    const stat = await minio.statObject('minio-js', 'small');
    assert.equal(stat.metaData['colour'], 'blue');
    const out = join(folder, 'minio-big.out');
    await minio.fGetObject('minio-js', 'big', out);
    assert.equal(await hashFile(out), createHash('sha256').update(big).digest('hex'));
    const names: string[] = [];
    for await (const item of minio.listObjectsV2('minio-js', '', true))
      names.push(String(item.name));
    assert.deepEqual(names, ['big', 'small']);
    await minio.removeObjects('minio-js', names);
    await minio.removeBucket('minio-js');
  });
});
