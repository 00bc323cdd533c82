/**
 * What tests run in a process of its own, to kill it or to delay its disk. The first argument names
 * the job, the second the folder. Lines on standard output tell what happened.
 */
import { writeSync } from 'node:fs';
import { systemEffects } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { openEnvironment } from './block-store.ts';
import { storageNodeConfigSchema } from './config.ts';
import { openNodeFolder } from './folder.ts';
import { startStorageNode } from './main.ts';
import { bytesOf, contentOf, keyOf, lengthOf, MAP_SIZE_BYTES } from './test-support.ts';

const say = (line: string): void => {
  writeSync(1, `${line}\n`);
};

/** Holds the folder until it is killed. */
function hold(folder: string): void {
  openNodeFolder({ folder, newId: () => 'holder', newDisk: () => 'disk' });
  say('held');
  setInterval(() => {}, 1000);
}

/** Writes blocks from `first` on, and deletes every fifth again, until it is killed. */
async function write(folder: string, first: string): Promise<void> {
  const config = storageNodeConfigSchema.parse({ folder, id: 'node-1' });
  const { node } = await startStorageNode(config, {
    effects: systemEffects,
    log: silentLog,
    secret: '',
  });
  let next = Number(first);
  const lane = async (): Promise<void> => {
    for (;;) {
      const index = next++;
      await node.put(keyOf(index), contentOf(bytesOf(lengthOf(index), index)));
      say(`put ${index}`);
      if (index % 5 !== 0) continue;
      say(`deleting ${index}`);
      await node.delete([keyOf(index)]);
      say(`deleted ${index}`);
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
}

/** Says after how many milliseconds a write could be read, and after how many it was acknowledged. */
async function readEarly(folder: string): Promise<void> {
  const environment = openEnvironment({ folder, mapSizeBytes: MAP_SIZE_BYTES });
  const key = Buffer.alloc(22, 1);
  const startedAt = performance.now();
  let acknowledged = false;
  const written = environment.blocks.put(key, Buffer.alloc(5000)).then(() => {
    acknowledged = true;
  });
  let readableAt: number | undefined;
  while (!acknowledged) {
    environment.refresh();
    if (environment.blocks.read(key)) readableAt ??= performance.now() - startedAt;
    await new Promise(setImmediate);
  }
  await written;
  const acknowledgedAt = performance.now() - startedAt;
  say(JSON.stringify({ readableAt: readableAt ?? acknowledgedAt, acknowledgedAt }));
  await environment.close();
}

const [job, folder = '', extra = ''] = process.argv.slice(2);
if (job === 'hold') hold(folder);
else if (job === 'write') await write(folder, extra);
else if (job === 'read-early') await readEarly(folder);
else throw new Error(`no such job: ${job}`);
