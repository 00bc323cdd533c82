/**
 * Measures the internal RPC by itself: one server process, one client process, a fixed number of
 * calls in flight. Prints calls per second and the processor time of a call on either side, for
 * payloads in the request ("put"), in the answer ("get") and in neither.
 *
 *     node test/bench/rpc.ts [seconds per row] [tcp|unix]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashBytes } from '../../base/checksum.ts';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { createRpcChannel } from '../../base/rpc/client.ts';
import type { RpcChannel } from '../../base/rpc/rpc.ts';
import { createRpcServer } from '../../base/rpc/server.ts';

const SECRET = 'a secret for measurements only';
const LIMITS = { metaBytesMax: 1 << 20, payloadBytesMax: 4 << 20 };
const META = { key: Buffer.alloc(22, 7), checksum: 12345678901234567890n, length: 4096 };

const PUT = 1;
const GET = 2;
const CPU = 3;

async function serve(address: string): Promise<void> {
  const payloads = new Map<number, { bytes: Buffer; hash: bigint }>();
  const server = createRpcServer({
    secret: SECRET,
    limits: LIMITS,
    effects: systemEffects,
    log: silentLog,
    handler: async (request) => {
      if (request.method === PUT) return { meta: undefined };
      if (request.method === CPU) return { meta: process.cpuUsage() };
      const { length } = request.meta as { length: number };
      let payload = payloads.get(length);
      if (payload === undefined) {
        const bytes = Buffer.alloc(length, 1);
        payload = { bytes, hash: hashBytes(bytes) };
        payloads.set(length, payload);
      }
      return { meta: META, payload: payload.bytes, payloadHash: payload.hash };
    },
  });
  const bound = await server.listen(address);
  process.send?.(bound);
  process.on('disconnect', () => void server.close({ graceMs: 0 }));
}

interface Row {
  name: string;
  length: number;
  call: (channel: RpcChannel) => Promise<unknown>;
}

function rows(): Row[] {
  const list: Row[] = [
    { name: 'empty', length: 0, call: (channel) => channel.call(PUT, { meta: META }) },
  ];
  for (const length of [4096, 65_536, 1 << 20]) {
    const payload = Buffer.alloc(length, 1);
    const payloadHash = hashBytes(payload);
    list.push({
      name: `put ${length / 1024} KiB`,
      length,
      call: (channel) => channel.call(PUT, { meta: META, payload, payloadHash }),
    });
    const meta = { ...META, length };
    list.push({
      name: `get ${length / 1024} KiB`,
      length,
      call: (channel) => channel.call(GET, { meta }),
    });
  }
  return list;
}

async function run(channel: RpcChannel, row: Row, inFlight: number, ms: number): Promise<number> {
  const end = performance.now() + ms;
  let calls = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      await row.call(channel);
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return calls;
}

function micros(usage: NodeJS.CpuUsage): number {
  return usage.user + usage.system;
}

async function serverCpu(channel: RpcChannel): Promise<number> {
  const { meta } = await channel.call(CPU, { meta: null });
  return micros(meta as NodeJS.CpuUsage);
}

async function measure(seconds: number, transport: string): Promise<void> {
  const path = join(tmpdir(), `ashlar-bench-rpc-${process.pid}.sock`);
  const child = fork(import.meta.filename, [
    'serve',
    transport === 'unix' ? `unix:${path}` : '127.0.0.1:0',
  ]);
  const [address] = (await once(child, 'message')) as [string];
  const channel = createRpcChannel({
    address,
    secret: SECRET,
    limits: LIMITS,
    effects: systemEffects,
    log: silentLog,
  });
  console.log(`${address}; CPU in µs per call\n`);
  console.log('| call | in flight | calls/s | MB/s | client CPU | server CPU |');
  console.log('|---|---|---|---|---|---|');
  for (const row of rows()) {
    for (const inFlight of row.length > 100_000 ? [1, 16] : [1, 64]) {
      await run(channel, row, inFlight, 300);
      const before = [process.cpuUsage(), await serverCpu(channel), performance.now()] as const;
      const calls = await run(channel, row, inFlight, seconds * 1000);
      const elapsed = (performance.now() - before[2]) / 1000;
      const client = micros(process.cpuUsage(before[0])) / calls;
      const server = ((await serverCpu(channel)) - before[1]) / calls;
      const cells = [row.name, inFlight, Math.round(calls / elapsed)];
      cells.push(Math.round((calls * row.length) / elapsed / 1e6));
      cells.push(client.toFixed(1), server.toFixed(1));
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
  await channel.close();
  child.disconnect();
}

const [first, second] = process.argv.slice(2);
if (first === 'serve') await serve(second ?? '127.0.0.1:0');
else await measure(Number(first ?? 2), second ?? 'tcp');
