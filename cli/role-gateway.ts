/** `ashlar gateway`: a gateway as a process. */
import { systemEffects } from '../base/clock.ts';
import { createRpcRecord } from '../base/rpc/rpc-record.ts';
import { startGateway, whenReady } from '../gateway/main.ts';
import { gatewayConfig } from './gateway-settings.ts';
import { storageNodeMethodName } from '../storage-node/client.ts';
import { clusterSecret, connectMeta, connectNode, roleLog, runRole } from './roles.ts';
import type { Settings } from './settings.ts';

export async function runGateway(settings: Settings): Promise<void> {
  const log = roleLog(settings, 'gateway');
  const secret = clusterSecret(settings);
  const config = gatewayConfig(settings, `gateway-${process.pid}`);
  await runRole(settings, log, async () => {
    const rpc = createRpcRecord();
    const client = connectMeta(settings.meta.address, secret, log, rpc);
    const surroundings = {
      effects: systemEffects,
      log,
      meta: client.meta,
      admin: client.admin,
      connect: ({ id, address }: { id: string; address: string }) =>
        connectNode(address, secret, log, rpc.observer(id, storageNodeMethodName)),
      rpc,
    };
    const gateway = await startGateway(config, surroundings);
    await whenReady(gateway, config, surroundings);
    return {
      ready: { s3: gateway.s3, website: gateway.website, admin: gateway.admin },
      async stop() {
        await gateway.stop();
        await client.close();
      },
    };
  });
}
