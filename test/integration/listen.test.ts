/** Where gateways listen: all of them at the address that was asked for, also after a restart. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Cluster, startCluster } from '../support/cluster.ts';

const LISTENS = '0A';
const EVERYWHERE = '00000000';

/** Local addresses, in the kernel's notation, of the sockets that listen on the port. */
function listeners(port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === LISTENS && local?.endsWith(`:${wanted}`) === true)
    .map(([, local]) => local?.split(':')[0] ?? '');
}

async function restart(cluster: Cluster, pid: number, name: string): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await cluster.until(
    ({ processes }) => processes.some((one) => one.name === name && one.pid !== pid),
    `${name} to come back`,
  );
}

test('--s3 0.0.0.0 is every gateway’s address, of those too that are started later', async (context) => {
  if (process.platform !== 'linux') return context.skip('looks into /proc');
  const cluster = await startCluster({ args: ['--s3', '0.0.0.0:0', '--gateways', '2'] });
  try {
    const port = Number(new URL(cluster.ready().s3).port);
    assert.deepEqual(listeners(port), [EVERYWHERE, EVERYWHERE]);
    for (const { pid, name } of cluster.processes('gateway')) await restart(cluster, pid, name);
    assert.equal(Number(new URL(cluster.ready().s3).port), port);
    assert.deepEqual(listeners(port), [EVERYWHERE, EVERYWHERE]);
    // Another address of this machine than the one that clients are told.
    const answer = await fetch(`http://127.0.0.2:${port}/_ashlar/health/ready`);
    assert.equal(answer.status, 200);
  } finally {
    await cluster.stop();
  }
});
