/** Who belongs to the cluster, as a store tells before anything of it is started. */
import type { KeyValueStore } from '../engine/kv.ts';
import { KV_LIMITS } from '../engine/kv.ts';
import type { NodeView } from '../protocol.ts';
import { BOOT_KEY, decodeCount, decodeFacts, decodeNode, FACTS_KEY, NODES } from './rows.ts';

export interface KnownCluster {
  clusterId: string;
  /** How often the service has started over this store. */
  boot: number;
  /** Where the nodes were when they were heard last. */
  nodes: NodeView[];
}

/** Undefined: nothing has started over this store yet. */
export async function readKnownCluster(
  store: Pick<KeyValueStore, 'get' | 'range'>,
): Promise<KnownCluster | undefined> {
  const [facts, boot] = await store.get([FACTS_KEY, BOOT_KEY]);
  if (facts == null) return undefined;
  const rows = await store.range({ ...NODES, limit: KV_LIMITS.rangeRows });
  const nodes = rows.flatMap(({ key, value }): NodeView[] => {
    const { address, zone, capacityBytes, removal } = decodeNode(value);
    if (removal === 'gone') return [];
    const id = key.toString('utf8', 1);
    return [{ id, address, zone, state: 'down', full: false, capacityBytes, freeBytes: 0 }];
  });
  return { clusterId: decodeFacts(facts.value).clusterId, boot: decodeCount(boot ?? null), nodes };
}
