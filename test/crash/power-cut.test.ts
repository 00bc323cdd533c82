/**
 * Power cuts of the whole machine: all data lies on a small ext4 of its own; every process is frozen,
 * the filesystem is shut down without writing back what was not synced, the processes are killed, and
 * everything starts again on what reached the disk. `POWER_CYCLES=n` for more, `POWER_SEED=text` to
 * replay the same requests. Needs root, loop devices and perl (for one ioctl).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cluster, startCluster, TEST_KEYS } from '../support/cluster.ts';
import { signedClient } from '../support/http.ts';
import { createLedger } from '../support/ledger.ts';

const CYCLES = Number(process.env['POWER_CYCLES'] ?? 6);
const SEED = process.env['POWER_SEED'] ?? String(Date.now());
const WORKERS = 6;
const IMAGE_BYTES = 3 * 1024 ** 3;
/** EXT4_IOC_SHUTDOWN, `_IOR('X', 125, u32)`, with NOLOGFLUSH: nothing more reaches the disk. */
const SHUTDOWN =
  'open(my $d, "<", $ARGV[0]) or die $!; my $f = pack("L", 2); ioctl($d, 0x8004587d, $f) or die $!;';

const environment = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
const run = (command: string, ...args: string[]): boolean =>
  spawnSync(command, args, { stdio: 'ignore', env: environment }).status === 0;

interface Disk {
  mount(): boolean;
  /** What was not synced is lost. */
  cut(): boolean;
  unmount(): Promise<boolean>;
}

function makeDisk(folder: string, mountPoint: string): Disk | undefined {
  const image = join(folder, 'disk.img');
  mkdirSync(mountPoint);
  const disk: Disk = {
    mount: () => run('mount', '-o', 'loop', image, mountPoint),
    cut: () => run('perl', '-e', SHUTDOWN, mountPoint),
    async unmount() {
      for (let turn = 0; turn < 100; turn++) {
        if (run('umount', mountPoint)) return true;
        await sleep(50);
      }
      return false;
    },
  };
  const made =
    run('truncate', '-s', String(IMAGE_BYTES), image) &&
    run('mkfs.ext4', '-q', '-F', '-m', '0', image) &&
    disk.mount();
  return made ? disk : undefined;
}

const alive = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** Freezes all processes, cuts the disk's power, and only then lets the processes die. */
async function cutPower(cluster: Cluster, disk: Disk): Promise<void> {
  const pids = [cluster.supervisor.pid ?? 0, ...cluster.ready().processes.map(({ pid }) => pid)];
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  assert.ok(disk.cut(), 'the filesystem could not be shut down');
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  for (const pid of pids.slice(1)) {
    for (let turn = 0; turn < 200 && alive(pid); turn++) await sleep(20);
  }
  assert.ok(await disk.unmount(), 'the filesystem could not be unmounted');
  assert.ok(disk.mount(), 'the filesystem could not be mounted again');
}

test(`${CYCLES} power cuts of everything lose nothing (seed ${SEED})`, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-power-'));
  const disk = makeDisk(folder, join(folder, 'data'));
  if (disk === undefined) {
    rmSync(folder, { recursive: true, force: true });
    context.skip('needs root, loop devices and mkfs.ext4');
    return;
  }
  let cluster = await startCluster({ folder, args: ['--bucket', 'power'] });
  const client = signedClient(() => cluster.ready().s3, TEST_KEYS);
  try {
    const ledger = createLedger({
      client,
      bucket: 'power',
      workers: WORKERS,
      keysPerWorker: 30,
      sizes: [0, 1, 4096, 70_000, 1_048_577],
      seed: SEED,
    });
    let rounds = 0;
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      let running = true;
      const load = Promise.all(
        Array.from({ length: WORKERS }, async (_, worker) => {
          while (running) await ledger.step(worker, rounds++);
        }),
      );
      await sleep(600 + ((cycle * 271) % 900));
      const cut = cutPower(cluster, disk);
      running = false;
      await cut;
      await load;
      cluster = await startCluster({ folder, args: ['--bucket', 'power'] });
      assert.deepEqual(await ledger.verify(), [], `after power cut ${cycle + 1}`);
    }
    const { acknowledged, unknown, verified } = ledger.counts;
    context.diagnostic(
      `${CYCLES} power cuts, ${acknowledged} acknowledged writes, ${unknown} without an answer, ${verified} reads checked, 0 lost`,
    );
    assert.ok(acknowledged > CYCLES, `only ${acknowledged} writes were acknowledged`);
  } finally {
    client.close();
    await cluster.stop();
    await disk.unmount();
    rmSync(folder, { recursive: true, force: true });
  }
});
