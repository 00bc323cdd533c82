/**
 * The load process: reads one JSON job from its standard input, runs it, prints one JSON result.
 * A process of its own, so that its work is not the server's.
 */
import { createHash } from 'node:crypto';
import { sha256, signHeaders, type Keys } from '../support/sign.ts';
import { Connection } from './connection.ts';

export interface Job {
  kind: 'put' | 'get' | 'list';
  endpoint: string;
  keys: Keys;
  bucket: string;
  /** Object size in bytes. */
  size: number;
  connections: number;
  /** Stop after this long, or after `operations`, whichever comes first. */
  durationMs: number;
  operations: number;
  /** Distinct keys, used in turn. */
  objects: number;
  prefix: string;
  /** Sign the payload's SHA-256 (else UNSIGNED-PAYLOAD). */
  signPayload: boolean;
}

export interface JobResult {
  operations: number;
  bytes: number;
  errors: number;
  seconds: number;
  p50Ms: number;
  p99Ms: number;
  /** CPU of the load process, user and system, in seconds. */
  cpuSeconds: number;
  /** `list`: keys seen. */
  listed: number;
}

function requestHead(
  job: Job,
  host: string,
  path: string,
  query: string,
  body: Buffer | undefined,
): Buffer {
  const method = job.kind === 'put' ? 'PUT' : 'GET';
  const payloadHash =
    body === undefined ? sha256('') : job.signPayload ? sha256(body) : 'UNSIGNED-PAYLOAD';
  const signed = signHeaders(
    { method, path, query, headers: { host }, payloadHash, now: Date.now() },
    job.keys,
  );
  const lines = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = body === undefined ? '' : `content-length: ${body.length}\r\n`;
  return Buffer.from(
    `${method} ${path}${query === '' ? '' : `?${query}`} HTTP/1.1\r\n${lines.join('')}${length}\r\n`,
  );
}

function contentOf(size: number): Buffer {
  // Not compressible, the same in every run.
  const block = createHash('sha512').update('ashlar').digest();
  const body = Buffer.alloc(size);
  for (let at = 0; at < size; at += block.length) block.copy(body, at);
  return body;
}

async function run(job: Job): Promise<JobResult> {
  const { hostname, port, host } = new URL(job.endpoint);
  const body = job.kind === 'put' ? contentOf(job.size) : undefined;
  const heads = Array.from({ length: job.objects }, (_, index) =>
    requestHead(job, host, `/${job.bucket}/${job.prefix}${index}`, '', body),
  );
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => Connection.open(hostname, Number(port))),
  );
  const latencies: number[] = [];
  let next = 0;
  let bytes = 0;
  let errors = 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const worker = async (connection: Connection): Promise<void> => {
    while (next < job.operations && performance.now() - started < job.durationMs) {
      const head = heads[next++ % heads.length];
      if (head === undefined) return;
      const before = performance.now();
      const answer = await connection.request(head, body);
      latencies.push(performance.now() - before);
      bytes += body === undefined ? answer.bytes : body.length;
      if (answer.status !== 200 || (job.kind === 'get' && answer.bytes !== job.size)) errors++;
    }
  };
  await Promise.all(connections.map(worker));
  return result(started, cpu, latencies, { bytes, errors, listed: 0 }, connections);
}

function result(
  started: number,
  cpu: NodeJS.CpuUsage,
  latencies: number[],
  counts: { bytes: number; errors: number; listed: number },
  connections: readonly Connection[],
): JobResult {
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  for (const connection of connections) connection.close();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return {
    operations: latencies.length,
    seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    cpuSeconds: (used.user + used.system) / 1e6,
    ...counts,
  };
}

async function list(job: Job): Promise<JobResult> {
  const { hostname, port, host } = new URL(job.endpoint);
  const connection = await Connection.open(hostname, Number(port));
  const latencies: number[] = [];
  let bytes = 0;
  let errors = 0;
  let listed = 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  let token = '';
  do {
    const query = [
      ...(token === '' ? [] : [`continuation-token=${encodeURIComponent(token)}`]),
      'list-type=2',
      `prefix=${encodeURIComponent(job.prefix)}`,
    ].join('&');
    const before = performance.now();
    const answer = await connection.request(
      requestHead(job, host, `/${job.bucket}`, query, undefined),
      undefined,
      true,
    );
    latencies.push(performance.now() - before);
    const text = answer.body?.toString('utf8') ?? '';
    bytes += answer.bytes;
    if (answer.status !== 200) errors++;
    listed += Number(/<KeyCount>(\d+)</.exec(text)?.[1] ?? 0);
    token = /<NextContinuationToken>([^<]+)</.exec(text)?.[1] ?? '';
  } while (token !== '' && errors === 0);
  return result(started, cpu, latencies, { bytes, errors, listed }, [connection]);
}

let input = '';
for await (const chunk of process.stdin) input += String(chunk);
const job = JSON.parse(input) as Job;
process.stdout.write(JSON.stringify(await (job.kind === 'list' ? list(job) : run(job))));
