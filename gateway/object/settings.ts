/** What the object engine can be told, with its defaults. All sizes in bytes, all times in milliseconds. */
import type { WritePolicy } from './write-quorum.ts';

export interface ObjectSettings {
  /** Name of this gateway process in the metadata service's list of writers. */
  name: string;
  /** Zone of this gateway: replicas in it are read first. */
  zone: string | undefined;
  /** Size of the blocks of new blobs. */
  blockSize: number;
  writePolicy: WritePolicy;
  /** Blocks of one upload that may be on their way to the nodes at once. */
  blocksInFlight: number;
  /** Memory for the bodies of all uploads together. */
  writeMemoryBytes: number;
  /** Memory for blocks that all downloads together have fetched ahead. */
  readMemoryBytes: number;
  /** Blocks that one download may fetch ahead. */
  readAheadBlocks: number;
  /** How long a block waits for its third node once two have acknowledged. */
  stragglerMs: number;
  /** How long a read waits for one replica before it asks a second one as well. */
  hedgeMs: number;
  /** How long a block that no quorum can take, or no replica can serve, is tried again. */
  retryMs: number;
  /** How long one call to a node may take altogether. */
  callTimeoutMs: number;
  /** How often the writer lease is renewed. */
  renewMs: number;
  /** How long `stop` waits for requests that are still running. */
  drainMs: number;
}

export const OBJECT_SETTINGS: ObjectSettings = {
  name: 'gateway',
  zone: undefined,
  blockSize: 1024 * 1024,
  writePolicy: 'degraded',
  blocksInFlight: 4,
  writeMemoryBytes: 128 * 1024 * 1024,
  readMemoryBytes: 128 * 1024 * 1024,
  readAheadBlocks: 4,
  stragglerMs: 1000,
  hedgeMs: 200,
  retryMs: 2000,
  callTimeoutMs: 10_000,
  renewMs: 1000,
  drainMs: 10_000,
};
