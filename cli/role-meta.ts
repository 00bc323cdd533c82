/** `ashlar meta`: the metadata service as a process. */
import { systemEffects } from '../base/clock.ts';
import { startMeta } from '../meta/main.ts';
import { exitCodeOf } from '../storage-node/main.ts';
import { clusterSecret, connectNode, required, roleLog, runRole } from './roles.ts';
import type { Settings } from './settings.ts';

export async function runMeta(settings: Settings): Promise<void> {
  const log = roleLog(settings, 'meta');
  const secret = clusterSecret(settings);
  const folder = required(settings.meta.data, '--meta-data', 'the folder of the metadata store');
  await runRole(settings, log, async () => {
    const running = await startMeta(
      {
        folder,
        listen: settings.meta.listen,
        mapSizeBytes: settings.meta.mapSize,
        expectedNodes: settings.meta.expectedNodes,
        journal: settings.meta.journal,
        snapshotEveryMs: settings.meta.snapshotEvery,
        nodeOutMs: settings.meta.nodeOutAfter,
        scrubPeriodMs: settings.meta.scrubEvery,
        orphanWalkMs: settings.meta.orphansEvery,
        eventsMax: settings.meta.eventBacklog,
        lifecycleDayMs: settings.meta.lifecycleDay,
        repairBytesPerSecond: settings.meta.repairRate,
      },
      {
        effects: systemEffects,
        log,
        secret,
        connectNode: ({ address }) => connectNode(address, secret, log),
      },
    );
    // An old copy of the disk, a second service (a person must act), or a store that was brought up to
    // date and has to be read again (the supervisor starts it again).
    void running.refused.then(async (failure) => {
      process.stderr.write(`ashlar: ${failure.message}\n`);
      await running.stop();
      process.exit(exitCodeOf(failure));
    });
    return { ready: { address: running.address ?? '' }, stop: () => running.stop() };
  });
}
