/**
 * `npm run bench`: starts Ashlar with three durable replicas, loads it from a separate process and
 * prints a table. Everything runs on this machine and shares its cores; the CPU columns say who
 * used them.
 *
 *   npm run bench -- [--seconds N] [--connections N] [--gateways N] [--only put-4k,get-4k,…]
 *                    [--endpoint URL --access-key K --secret-key S]   measure another server instead
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import type { Job, JobResult } from './load.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
    gateways: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
    keys: { type: 'string', default: '100000' },
    endpoint: { type: 'string', default: '' },
    'access-key': { type: 'string', default: '' },
    'secret-key': { type: 'string', default: '' },
  },
});
const seconds = Number(options.seconds);
const connections = Number(options.connections);

interface Row {
  name: string;
  job: Omit<Job, 'endpoint' | 'keys' | 'bucket' | 'durationMs'>;
  /** Filling the bucket for a later row: not shown. */
  preparation?: boolean;
}

const job = (
  kind: Job['kind'],
  size: number,
  prefix: string,
  more: Partial<Row['job']>,
): Row['job'] => ({
  kind,
  size,
  prefix,
  connections,
  operations: Number.MAX_SAFE_INTEGER,
  objects: 2000,
  signPayload: false,
  ...more,
});

const ROWS: readonly Row[] = [
  { name: 'put-4k', job: job('put', 4 * KIB, '4k-', { signPayload: true }) },
  { name: 'get-4k', job: job('get', 4 * KIB, '4k-', {}) },
  { name: 'put-1m', job: job('put', MIB, '1m-', { objects: 100, connections: 8 }) },
  { name: 'get-1m', job: job('get', MIB, '1m-', { objects: 100, connections: 8 }) },
  { name: 'put-64m', job: job('put', 64 * MIB, '64m-', { objects: 6, connections: 2 }) },
  { name: 'get-64m', job: job('get', 64 * MIB, '64m-', { objects: 6, connections: 2 }) },
  {
    name: 'fill',
    preparation: true,
    job: job('put', 0, 'list/', {
      objects: Number(options.keys),
      operations: Number(options.keys),
    }),
  },
  { name: 'list-all', job: job('list', 0, 'list/', { connections: 1 }) },
];

/** User and system time of a process so far, in seconds; 0 when it is gone or not on Linux. */
function cpuSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

function cpuByRole(cluster: Cluster | undefined): Record<string, number> {
  const sums: Record<string, number> = { gateway: 0, meta: 0, node: 0 };
  for (const { role, pid } of cluster?.ready().processes ?? []) {
    sums[role] = (sums[role] ?? 0) + cpuSeconds(pid);
  }
  return sums;
}

function runLoad(input: Job): Promise<JobResult> {
  const file = join(dirname(fileURLToPath(import.meta.url)), 'load.ts');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file], { stdio: ['pipe', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('utf8');
    });
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as JobResult);
      else reject(new Error(`the load process ended with code ${code}`));
    });
    child.stdin.end(JSON.stringify(input));
  });
}

const cell = (text: string, width: number): string => text.padStart(width);

function printHeader(): void {
  console.log(
    `\n${'operation'.padEnd(10)}${cell('conns', 6)}${cell('ops/s', 9)}${cell('MB/s', 8)}${cell('p50 ms', 9)}${cell('p99 ms', 9)}${cell('errors', 8)}   CPU µs per operation: gateway / meta / nodes / load`,
  );
}

function printRow(row: Row, result: JobResult, cpu: Record<string, number>): void {
  const perOperation = (total: number): string =>
    ((total * 1e6) / Math.max(1, result.operations)).toFixed(0);
  console.log(
    `${row.name.padEnd(10)}${cell(String(row.job.connections), 6)}${cell((result.operations / result.seconds).toFixed(0), 9)}${cell((result.bytes / 1e6 / result.seconds).toFixed(1), 8)}${cell(result.p50Ms.toFixed(2), 9)}${cell(result.p99Ms.toFixed(2), 9)}${cell(String(result.errors), 8)}   ${['gateway', 'meta', 'node'].map((role) => perOperation(cpu[role] ?? 0)).join(' / ')} / ${perOperation(result.cpuSeconds)}${row.job.kind === 'list' ? `   (${result.listed} keys in ${result.seconds.toFixed(2)} s)` : ''}`,
  );
}

const external = options.endpoint !== '';
const cluster = external
  ? undefined
  : await startCluster({ args: options.gateways === '' ? [] : ['--gateways', options.gateways] });
try {
  const endpoint = cluster?.ready().s3 ?? options.endpoint;
  const keys = external
    ? { accessKey: options['access-key'], secretKey: options['secret-key'] }
    : TEST_KEYS;
  const bucket = `bench-${Date.now()}`;
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: keys.accessKey, secretAccessKey: keys.secretKey },
  });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
  console.log(
    `${external ? endpoint : 'Ashlar, three durable replicas'}; ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}, ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, Node ${process.version}; load on the same cores, ${seconds} s per row`,
  );
  printHeader();
  const only = options.only === '' ? [] : options.only.split(',');
  /** Objects that stand under a prefix: a slow machine writes fewer than there are names. */
  const written = new Map<string, number>();
  for (const row of ROWS) {
    const wanted = only.length === 0 || only.includes(row.name);
    if (!wanted && !(row.preparation === true && only.includes('list-all'))) continue;
    const before = cpuByRole(cluster);
    const { prefix } = row.job;
    const objects = Math.min(row.job.objects, written.get(prefix) ?? row.job.objects);
    const result = await runLoad({
      ...row.job,
      objects,
      endpoint,
      keys,
      bucket,
      durationMs: row.preparation === true ? 300_000 : seconds * 1000,
    });
    if (row.job.kind === 'put') written.set(prefix, Math.min(objects, result.operations));
    const after = cpuByRole(cluster);
    const cpu = Object.fromEntries(
      Object.entries(after).map(([role, used]) => [role, used - (before[role] ?? 0)]),
    );
    if (row.preparation !== true) printRow(row, result, cpu);
    if (result.errors > 0) process.exitCode = 1;
  }
} finally {
  await cluster?.stop();
}
