/**
 * What a storage node needs from the metadata service: to be known, and to be known as alive. The
 * metadata service's client fits this interface; this room does not import that one.
 */
import type { CallOptions } from '../base/call.ts';
import type { Address } from '../base/rpc/rpc.ts';

export interface NodeRegistration {
  id: string;
  address: Address;
  zone: string;
  capacityBytes: number;
  freeBytes: number;
  /** The cluster that the node's folder belongs to; undefined for a blank folder. */
  clusterId?: string | undefined;
  /** Random per process start. */
  instance: string;
  /** How often the disk's store has been opened: tells an old copy of the disk. */
  generation?: number | undefined;
  /** Made with the disk's folder: tells it from another one under the same node id. */
  disk?: string | undefined;
}

interface NodeRegistered {
  clusterId: string;
  heartbeatMs: number;
}

export interface NodeHeartbeat {
  id: string;
  instance: string;
  freeBytes: number;
  capacityBytes: number;
  full: boolean;
  /** How full the node's store is, apart from its disk. */
  store?: { usedBytes: number; limitBytes: number } | undefined;
}

export interface Registrar {
  registerNode(registration: NodeRegistration, options?: CallOptions): Promise<NodeRegistered>;
  /** Failure `not-found`: register again. */
  heartbeat(beat: NodeHeartbeat, options?: CallOptions): Promise<null>;
}
