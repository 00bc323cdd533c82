/** A metadata service that stores objects and prints a line for each that was acknowledged, to be killed. */
import { systemEffects } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { startMeta } from './main.ts';
import { deletingNode, prepare, put, SECRET } from './test-support.ts';

const folder = process.argv[2] ?? '';
const { meta } = await startMeta(
  { folder, mapSizeBytes: 2 ** 30, journal: 'off' },
  {
    effects: systemEffects,
    log: silentLog,
    secret: SECRET,
    connectNode: () => deletingNode(new Set()),
  },
);
const { writer } = await prepare(meta);
for (let n = 0; ; n++) {
  await meta.putObject(put(writer, 'bucket', `key-${n}`, n + 1));
  process.stdout.write(`${n}\n`);
}
