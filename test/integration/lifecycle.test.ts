/** Starting, stopping and starting again, with real processes. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { S3 } from '@aws-sdk/client-s3';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import {
  ROOT_FOLDER,
  type RunningCommand,
  runCommand,
  startCommand,
  startNode,
} from '../support/command.ts';
import { seededBytes } from '../support/files.ts';
import { RawConnection, requestHead } from '../support/raw.ts';
import { bytesOf, etagOf, sameBytes } from '../support/server.ts';
import { sha256, signHeaders } from '../support/sign.ts';

const MIB = 1024 * 1024;

const folders: string[] = [];
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-life-'));
  folders.push(folder);
  return folder;
}
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** The SDK as a user has it, with retries: processes come and go here. */
function sdk(endpoint: string, keys = TEST_KEYS): S3 {
  return new S3({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey },
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

/** Bytes of a signed request, to be sent as slowly as one likes. */
function signedHead(endpoint: string, method: string, path: string, body?: Buffer): string {
  const { host } = new URL(endpoint);
  const payloadHash = sha256(body ?? '');
  const headers = signHeaders(
    { method, path, headers: { host }, payloadHash, now: Date.now() },
    TEST_KEYS,
  );
  return requestHead(method, path, { ...headers, 'content-length': String(body?.length ?? 0) });
}

test('a bucket that cannot be called so ends the start with a sentence, not with another try', async () => {
  const data = temporaryFolder();
  const started = startCommand(['start', '--data', data, '--s3', '127.0.0.1:0', '--bucket', 'b']);
  assert.equal(await started.exited, 78);
  assert.match(started.output(), /a bucket cannot be called b: choose 3 to 63 /);
});

describe('ashlar start', () => {
  let cluster: Cluster;
  let s3: S3;
  const folder = temporaryFolder();
  before(async () => {
    cluster = await startCluster({ folder, args: ['--gateways', '2', '--bucket', 'kept'] });
    s3 = sdk(cluster.ready().s3);
  });
  after(async () => {
    s3.destroy();
    await cluster.stop();
  });

  test('writes the ready file once requests are served, whole, with every process', async () => {
    const ready = cluster.ready();
    assert.match(ready.s3, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.match(ready.admin, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.deepEqual(
      ready.processes
        .map(({ role, name }) => `${role} ${name}`)
        .toSorted((a, b) => (a < b ? -1 : 1)),
      [
        'gateway gateway-1',
        'gateway gateway-2',
        'meta meta',
        'node node-1',
        'node node-2',
        'node node-3',
      ],
    );
    const pids = new Set(ready.processes.map(({ pid }) => pid));
    assert.equal(pids.size, 6, 'six processes of their own');
    for (const pid of pids) assert.doesNotThrow(() => process.kill(pid, 0));
    assert.equal((await s3.listBuckets()).Buckets?.[0]?.Name, 'kept');
    const health = await fetch(`${ready.admin}/healthz`);
    assert.equal(health.status, 200);
  });

  test('keeps its secrets to itself: 0600, and no sign of them in its output', async () => {
    const data = join(folder, 'data');
    assert.equal(statSync(join(data, 'cluster.key')).mode & 0o777, 0o600);
    for (const name of ['meta', 'node-1', 'node-2', 'node-3']) {
      assert.equal(statSync(join(data, name)).mode & 0o077, 0, name);
    }
    const secret = readFileSync(join(data, 'cluster.key'), 'utf8').trim();
    await s3.listBuckets();
    assert.ok(!cluster.output().includes(secret));
    assert.ok(!cluster.output().includes(TEST_KEYS.secretKey));
  });

  test('rewrites the ready file when a killed process is back, and goes on serving', async () => {
    for (const role of ['gateway', 'node', 'meta'] as const) {
      const victim = cluster.processes(role)[0];
      assert.ok(victim);
      process.kill(victim.pid, 'SIGKILL');
      await cluster.until(
        ({ processes }) =>
          processes.length === 6 &&
          processes.some(({ name, pid }) => name === victim.name && pid !== victim.pid),
        `${victim.name} to come back`,
      );
      await s3.putObject({ Bucket: 'kept', Key: role, Body: role });
      const answer = await s3.getObject({ Bucket: 'kept', Key: role });
      assert.equal((await bytesOf(answer)).toString(), role);
    }
    assert.equal(cluster.supervisor.exitCode, null);
  });

  test('refuses a second start on the same folder, and the first one does not notice', async () => {
    const before = cluster.ready();
    const second = await runCommand(
      ['start', '--data', join(folder, 'data'), '--s3', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
      { env: { ASHLAR_ROOT_ACCESS_KEY: 'other', ASHLAR_ROOT_SECRET_KEY: 'other-secret' } },
    );
    assert.equal(second.code, 75, second.output);
    assert.match(second.output, /^ashlar: .*meta is in use by another/m);
    assert.deepEqual(cluster.ready(), before);
    await s3.headBucket({ Bucket: 'kept' });
  });

  test('refuses a second start on the same port, and says how to choose another', async () => {
    const { host } = new URL(cluster.ready().s3);
    const second = await runCommand([
      'start',
      '--data',
      temporaryFolder(),
      '--s3',
      host,
      '--admin',
      '127.0.0.1:0',
    ]);
    assert.equal(second.code, 78, second.output);
    assert.match(second.output, new RegExp(`${host} is in use .* another address for s3.listen`));
    await s3.headBucket({ Bucket: 'kept' });
  });

  test('ends in order on SIGTERM: a slow upload and a slow download are finished, exit code 0', async () => {
    const body = seededBytes('slow upload', 6 * MIB);
    const large = seededBytes('slow download', 30 * MIB);
    const endpoint = cluster.ready().s3;
    await s3.putObject({ Bucket: 'kept', Key: 'large', Body: large });
    const upload = await RawConnection.open(endpoint);
    upload.send(signedHead(endpoint, 'PUT', '/kept/slow', body));
    upload.send(body.subarray(0, MIB));
    const download = await s3.getObject({ Bucket: 'kept', Key: 'large' });
    assert.ok(download.Body);
    const chunks: Buffer[] = [];
    const slowly = (async () => {
      for await (const chunk of download.Body as AsyncIterable<Buffer>) {
        chunks.push(chunk);
        if (chunks.length % 40 === 0) await sleep(20);
      }
    })();
    await sleep(200);
    const stopped = cluster.stop();
    for (let at = MIB; at < body.length; at += MIB) {
      await sleep(150);
      upload.send(body.subarray(at, at + MIB));
    }
    const answer = await upload.answer();
    assert.deepEqual([answer.status, answer.headers['etag']], [200, etagOf(body)], answer.body);
    upload.close();
    await slowly;
    sameBytes(Buffer.concat(chunks), large);
    assert.equal(await stopped, 0, cluster.output().slice(-2000));
    s3.destroy();
    // Nobody is left behind, and what was acknowledged while stopping is there afterwards.
    for (const { pid } of cluster.ready().processes) {
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    }
    cluster = await startCluster({ folder });
    s3 = sdk(cluster.ready().s3);
    sameBytes(await bytesOf(await s3.getObject({ Bucket: 'kept', Key: 'slow' })), body);
  });

  test('a restart keeps everything: objects, parts of open uploads, listings', async () => {
    const bodies = [0, 1, MIB, 3 * MIB + 7].map((size) => seededBytes(`kept ${size}`, size));
    for (const body of bodies) {
      const put = { Bucket: 'kept', Key: `size/${body.length}`, Body: body, Metadata: { n: '1' } };
      await s3.putObject(put);
    }
    const target = { Bucket: 'kept', Key: 'parts' };
    const { UploadId } = await s3.createMultipartUpload(target);
    const { ETag } = await s3.uploadPart({ ...target, UploadId, PartNumber: 1, Body: 'part' });
    const list = async (): Promise<unknown> =>
      (await s3.listObjectsV2({ Bucket: 'kept' })).Contents?.map((one) => [one.Key, one.ETag]);
    const before = await list();
    s3.destroy();
    assert.equal(await cluster.stop(), 0);
    cluster = await startCluster({ folder });
    s3 = sdk(cluster.ready().s3);
    assert.deepEqual(await list(), before);
    for (const body of bodies) {
      const answer = await s3.getObject({ Bucket: 'kept', Key: `size/${body.length}` });
      sameBytes(await bytesOf(answer), body);
      assert.deepEqual(answer.Metadata, { n: '1' });
    }
    const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
    await s3.completeMultipartUpload({ ...target, UploadId, MultipartUpload });
    assert.equal((await bytesOf(await s3.getObject(target))).toString(), 'part');
  });

  test('all processes follow when the supervisor is killed, and a new start finds the data', async () => {
    const { processes } = cluster.ready();
    await s3.putObject({ Bucket: 'kept', Key: 'last', Body: 'words' });
    s3.destroy();
    cluster.supervisor.kill('SIGKILL');
    const deadline = performance.now() + 20_000;
    const alive = (pid: number): boolean => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    while (processes.some(({ pid }) => alive(pid))) {
      assert.ok(performance.now() < deadline, 'a process outlives its supervisor');
      await sleep(50);
    }
    cluster = await startCluster({ folder });
    s3 = sdk(cluster.ready().s3);
    const answer = await s3.getObject({ Bucket: 'kept', Key: 'last' });
    assert.equal((await bytesOf(answer)).toString(), 'words');
  });
});

describe('credentials', () => {
  test('are made once, kept 0600, printed as a profile, and still the same after a restart', async () => {
    const folder = temporaryFolder();
    const readyFile = join(folder, 'ready.json');
    const data = join(folder, 'data');
    const found: unknown[] = [];
    for (let life = 0; life < 2; life++) {
      rmSync(readyFile, { force: true });
      const running = startCommand([
        'start',
        '--data',
        data,
        '--s3',
        '127.0.0.1:0',
        '--admin',
        'off',
        '--gateways',
        '1',
        '--ready-file',
        readyFile,
      ]);
      while (!existsSync(readyFile)) {
        assert.equal(running.process.exitCode, null, running.output());
        await sleep(20);
      }
      const path = join(data, 'credentials.json');
      assert.equal(statSync(path).mode & 0o777, 0o600);
      const keys = JSON.parse(readFileSync(path, 'utf8')) as {
        accessKey: string;
        secretKey: string;
      };
      found.push(keys);
      const { s3: endpoint } = JSON.parse(readFileSync(readyFile, 'utf8')) as { s3: string };
      const { code, output } = await runCommand(['profile', 'print', '--data', data]);
      assert.equal(code, 0, output);
      const expected = [
        '[profile ashlar]',
        `endpoint_url = ${endpoint}`,
        '[ashlar]',
        `aws_access_key_id = ${keys.accessKey}`,
        `aws_secret_access_key = ${keys.secretKey}`,
        'provider = Minio',
        `endpoint = ${endpoint}`,
        `export AWS_SECRET_ACCESS_KEY='${keys.secretKey}'`,
        `export AWS_ENDPOINT_URL_S3='${endpoint}'`,
      ];
      for (const line of expected) assert.ok(output.includes(line), `${line} in\n${output}`);
      const client = sdk(endpoint, keys);
      await client.listBuckets();
      client.destroy();
      assert.ok(
        !running.output().includes(keys.secretKey),
        'the secret is not printed without a terminal',
      );
      running.process.kill('SIGTERM');
      assert.equal(await running.exited, 0, running.output());
    }
    assert.deepEqual(found[1], found[0]);
  });

  test('profile print in a folder without any says what to do, with exit code 78', async () => {
    const { code, output } = await runCommand(['profile', 'print', '--data', temporaryFolder()]);
    assert.equal(code, 78);
    assert.match(output, /There are no credentials in .*ashlar start --data/s);
  });
});

describe('configuration', () => {
  test('config show names the source of every value and hides secrets', async () => {
    const folder = temporaryFolder();
    const env = {
      ASHLAR_ROOT_SECRET_KEY: 'a-secret-of-mine',
      ASHLAR_CLUSTER_SECRET: 'another-secret-of-mine',
      ASHLAR_S3_REGION: 'eu-west-1',
    };
    const { code, output } = await runCommand(
      ['config', 'show', '--sources', '--json', '--data', folder],
      { env },
    );
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /of-mine/);
    const lines = JSON.parse(output) as { path: string; value: unknown; source: string }[];
    const line = (path: string): unknown[] => {
      const one = lines.find((candidate) => candidate.path === path);
      return [one?.value, one?.source];
    };
    assert.deepEqual(line('data'), [folder, 'flag --data']);
    assert.deepEqual(line('s3.region'), ['eu-west-1', 'ASHLAR_S3_REGION']);
    assert.deepEqual(line('root.secretKey'), ['(hidden)', 'ASHLAR_ROOT_SECRET_KEY']);
    assert.deepEqual(line('cluster.secret'), ['(hidden)', 'ASHLAR_CLUSTER_SECRET']);
    assert.deepEqual(line('replication.policy'), ['degraded', 'default']);
    const text = await runCommand(['config', 'show', '--sources'], { env });
    assert.doesNotMatch(text.output, /of-mine/);
    assert.match(text.output, /^s3\.region +"eu-west-1" +# ASHLAR_S3_REGION$/m);
  });

  test('an unknown variable, flag or value is refused with what was meant, by exit code', async () => {
    const table: [args: string[], env: Record<string, string>, code: number, says: RegExp][] = [
      [
        ['config', 'show'],
        { ASHLAR_S3_LISTN: 'x' },
        78,
        /ASHLAR_S3_LISTN.*Did you mean ASHLAR_S3_LISTEN/,
      ],
      [['start'], { ASHLAR_REPLICATION_POLICI: 'x' }, 78, /Did you mean ASHLAR_REPLICATION_POLICY/],
      [['start', '--s3', 'nonsense'], {}, 78, /s3\.listen.*host:port/],
      [['gateway'], { ASHLAR_ROOT_SECRET_KEY: 'short' }, 78, /root\.secretKey/],
      [['start', '--dta', 'x'], {}, 2, /unknown option '--dta'.*--data/s],
      [['strat'], {}, 2, /unknown command 'strat'.*start/s],
    ];
    for (const [args, env, code, says] of table) {
      const finished = await runCommand(args, { env });
      assert.equal(finished.code, code, finished.output);
      assert.match(finished.output, says);
      assert.doesNotMatch(finished.output, /at .*\.ts:\d+/, 'no stack for a mistake of the user');
      assert.ok(!finished.output.includes('"short"'), 'not even a bad secret is shown');
    }
  });
});

describe('a cluster by hand', () => {
  const folder = temporaryFolder();
  const running: RunningCommand[] = [];
  after(async () => {
    for (const one of running) one.process.kill('SIGTERM');
    await Promise.all(running.map((one) => one.exited));
  });

  test('the commands of the README, in any order, serve objects and stop with exit code 0', async () => {
    const [meta = 0, s3Port = 0, ...nodes] = await Promise.all([1, 2, 3, 4, 5].map(freePort));
    const env = {
      ASHLAR_CLUSTER_SECRET: '0123456789abcdef0123456789abcdef',
      ASHLAR_ROOT_ACCESS_KEY: TEST_KEYS.accessKey,
      ASHLAR_ROOT_SECRET_KEY: TEST_KEYS.secretKey,
    };
    const metaAddress = `127.0.0.1:${meta}`;
    const start = (args: string[]): void => {
      running.push(startCommand(args, { env, cwd: folder }));
    };
    // Nobody waits for anybody: those that come first keep asking.
    start([
      'gateway',
      '--s3',
      `127.0.0.1:${s3Port}`,
      '--meta-address',
      metaAddress,
      '--admin',
      'off',
    ]);
    for (const [index, port] of nodes.entries()) {
      const id = `node-${index + 1}`;
      start([
        'node',
        '--node-id',
        id,
        '--node-data',
        `./${id}`,
        '--node-listen',
        `127.0.0.1:${port}`,
        '--meta-address',
        metaAddress,
      ]);
    }
    await sleep(500);
    start(['meta', '--meta-data', './meta', '--meta-listen', metaAddress]);
    const client = sdk(`http://127.0.0.1:${s3Port}`);
    const deadline = performance.now() + 30_000;
    for (;;) {
      const gone = running.find((one) => one.process.exitCode !== null);
      assert.equal(gone, undefined, gone?.output());
      try {
        await client.createBucket({ Bucket: 'by-hand' });
        break;
      } catch (error) {
        assert.ok(performance.now() < deadline, String(error));
        await sleep(100);
      }
    }
    const body = seededBytes('by hand', 3 * MIB);
    await client.putObject({ Bucket: 'by-hand', Key: 'a', Body: body });
    sameBytes(await bytesOf(await client.getObject({ Bucket: 'by-hand', Key: 'a' })), body);
    client.destroy();
    assert.deepEqual(
      readdirSync(folder).toSorted((a, b) => (a < b ? -1 : 1)),
      ['meta', 'node-1', 'node-2', 'node-3'],
    );
    for (const one of running.splice(0)) {
      one.process.kill('SIGTERM');
      assert.equal(await one.exited, 0, one.output().slice(-2000));
    }
  });

  test('a node with another cluster’s secret is not let in', async () => {
    const [meta = 0, nodePort = 0] = await Promise.all([1, 2].map(freePort));
    const secret = (text: string): { env: Record<string, string>; cwd: string } => ({
      env: { ASHLAR_CLUSTER_SECRET: text.repeat(16) },
      cwd: temporaryFolder(),
    });
    const service = startCommand(
      ['meta', '--meta-data', './meta', '--meta-listen', `127.0.0.1:${meta}`],
      secret('ab'),
    );
    running.push(service);
    await service.prints(/serving metadata/);
    const stranger = startCommand(
      [
        'node',
        '--node-id',
        'node-1',
        '--node-data',
        './node',
        '--meta-address',
        `127.0.0.1:${meta}`,
        '--node-listen',
        `127.0.0.1:${nodePort}`,
      ],
      secret('cd'),
    );
    running.push(stranger);
    await sleep(2000);
    assert.doesNotMatch(service.output(), /storage node registered/);
    assert.doesNotMatch(stranger.output(), /"msg":"registered"/);
    assert.equal(service.process.exitCode, null);
  });
});

describe('ashlar dev and ashlar/testing', () => {
  test('ashlar dev serves from one process and removes its data at the end', async () => {
    const temporary = temporaryFolder();
    const readyFile = join(temporaryFolder(), 'ready.json');
    const dev = startCommand(
      ['dev', '--s3', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--ready-file', readyFile],
      {
        env: {
          TMPDIR: temporary,
          ASHLAR_ROOT_ACCESS_KEY: TEST_KEYS.accessKey,
          ASHLAR_ROOT_SECRET_KEY: TEST_KEYS.secretKey,
        },
      },
    );
    await dev.prints(/"msg":"serving"/);
    const { s3: endpoint } = JSON.parse(readFileSync(readyFile, 'utf8')) as { s3: string };
    const client = sdk(endpoint);
    await client.createBucket({ Bucket: 'dev' });
    await client.putObject({ Bucket: 'dev', Key: 'a', Body: 'x' });
    client.destroy();
    assert.equal(readdirSync(temporary).length, 1);
    dev.process.kill('SIGTERM');
    assert.equal(await dev.exited, 0, dev.output());
    assert.deepEqual(readdirSync(temporary), []);
  });

  test('startAshlar holds its process while it starts and stops, and several fit into one', async () => {
    const script = `
      import { startAshlar } from ${JSON.stringify(join(ROOT_FOLDER, 'cli', 'testing.ts'))};
      const servers = [];
      for (let count = 0; count < 4; count++) servers.push(await startAshlar({ buckets: ['photos'] }));
      for (const server of servers) {
        const s3 = await server.client();
        s3.destroy();
        await server.stop();
      }
      console.log('all stopped');
    `;
    const run = startNode(['--input-type=module', '--eval', script]);
    assert.equal(await run.exited, 0, run.output());
    assert.match(run.output(), /all stopped/);
  });
});
