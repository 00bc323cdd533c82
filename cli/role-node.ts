/** `ashlar node`: a storage node as a process. */
import { systemEffects } from '../base/clock.ts';
import { storageNodeConfigSchema } from '../storage-node/config.ts';
import { exitCodeOf, startStorageNode } from '../storage-node/main.ts';
import { clusterSecret, connectMeta, required, roleLog, runRole } from './roles.ts';
import type { Settings } from './settings.ts';

export async function runNode(settings: Settings): Promise<void> {
  const log = roleLog(settings, 'node');
  const secret = clusterSecret(settings);
  const folder = required(settings.node.data, '--node-data', 'the folder of the storage node');
  await runRole(settings, log, async () => {
    const client = connectMeta(settings.meta.address, secret, log);
    const running = await startStorageNode(
      {
        ...storageNodeConfigSchema.parse({ folder }),
        id: settings.node.id,
        listen: settings.node.listen,
        advertise: settings.node.advertise,
        zone: settings.node.zone,
        mapSizeBytes: settings.node.mapSize,
        freeFloorBytes: settings.node.freeFloor,
        watchdogMs: settings.node.watchdog,
        drainMs: settings.shutdownBound,
      },
      { effects: systemEffects, log, secret, registrar: client.meta },
    );
    // Refused for good (another cluster's disk, a second node of this name): a person must act.
    void running.refused.then((failure) => {
      process.stderr.write(`ashlar: ${failure.message}\n`);
      process.exit(exitCodeOf(failure));
    });
    await running.registered;
    return {
      ready: { address: running.address ?? '' },
      async stop() {
        await running.close();
        await client.close();
      },
    };
  });
}
