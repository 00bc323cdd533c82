/** The metadata service: the catalogue and the cluster behind the one interface of `protocol.ts`. */
import type { Catalogue } from './catalogue/catalogue.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { Meta } from './protocol.ts';

/** Calls do not look at `timeoutMs` and `signal`: what they bound is the caller's wait. */
export function createMetaService(parts: {
  catalogue: Catalogue;
  cluster: Cluster<unknown>;
}): Meta {
  const { catalogue, cluster } = parts;
  const { garbage, repairs, bucketCount, ...methods } = catalogue;
  return {
    ...methods,
    registerNode: cluster.registerNode,
    heartbeat: cluster.heartbeat,
    openWriter: cluster.openWriter,
    renewWriter: cluster.renewWriter,
    closeWriter: cluster.closeWriter,
    async reportReplicas({ reports }) {
      await repairs.report(reports);
      return null;
    },
    async status() {
      const [garbageDepth, repairDepth, buckets] = await Promise.all([
        garbage.depth(),
        repairs.depth(),
        bucketCount(),
      ]);
      return {
        clusterId: cluster.clusterId,
        view: cluster.view(),
        writers: cluster.leases.count,
        queues: { garbage: garbageDepth, repair: repairDepth },
        buckets,
      };
    },
  };
}
