/** The metadata service: the catalogue and the cluster behind the one interface of `protocol.ts`. */
import type { Catalogue, CatalogueMethods } from './catalogue/catalogue.ts';
import type { Cluster } from './cluster/cluster.ts';
import type { Meta } from './protocol.ts';
import { METHODS } from './wire.ts';

/** Calls do not look at `timeoutMs` and `signal`: what they bound is the caller's wait. */
export function createMetaService(parts: {
  catalogue: Catalogue;
  cluster: Cluster<unknown>;
}): Meta {
  const { catalogue, cluster } = parts;
  const { garbage, repairs } = catalogue;
  return {
    ...catalogueMethods(catalogue),
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
        catalogue.bucketCount(),
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

/** Without the queues, which are no part of the interface. */
function catalogueMethods(catalogue: Catalogue): CatalogueMethods {
  const entries = Object.entries(catalogue).filter(([name]) => name in METHODS.numbers);
  return Object.fromEntries(entries) as unknown as CatalogueMethods;
}
