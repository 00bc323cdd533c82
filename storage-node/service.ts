/** `StorageNode` over a block store in this process. */
import type { CallOptions } from '../base/call.ts';
import { hashBytes } from '../base/checksum.ts';
import type { Clock } from '../base/clock.ts';
import { Failure } from '../base/failure.ts';
import {
  type BlockContent,
  decodeBlockKey,
  encodeBlockKey,
  type JournalNode,
  type NodeHealth,
  type StorageNode,
} from './protocol.ts';
import type { BlockStore } from './store.ts';

export interface ServiceOptions {
  store: BlockStore;
  /** The metadata journal on this node. */
  journal?: JournalNode | undefined;
  clock: Clock;
  /** Who the node is; the cluster's id is known from the first registration on. */
  identity: () => { id: string; clusterId: string | undefined };
}

/** What `health` answers; shared with the RPC server. */
export function healthOf(options: ServiceOptions): () => NodeHealth {
  const openedAt = options.clock.monotonic();
  return () => ({
    ...options.identity(),
    uptimeMs: options.clock.monotonic() - openedAt,
    stats: options.store.stats(),
  });
}

export function createStorageNode(options: ServiceOptions): StorageNode {
  const { store, clock } = options;
  const health = healthOf(options);
  const call = <T>(work: () => T | Promise<T>, callOptions?: CallOptions): Promise<T> =>
    callOptions === undefined ? start(work) : limited(work, callOptions, clock);
  return {
    journal: options.journal,
    put: (key, content, callOptions) =>
      call(() => store.put(encodeBlockKey(key), verified(content)), callOptions),
    get: (key, range, callOptions) =>
      call(() => store.get(encodeBlockKey(key), range), callOptions),
    has: (keys, callOptions) => call(() => store.has(keys.map(encodeBlockKey)), callOptions),
    delete: (keys, callOptions) => call(() => store.delete(keys.map(encodeBlockKey)), callOptions),
    restore: (key, content, callOptions) =>
      call(() => store.restore(encodeBlockKey(key), verified(content)), callOptions),
    list: ({ group, after, limit }, callOptions) =>
      call(async () => {
        const from = after === undefined ? undefined : encodeBlockKey(after);
        const blocks = await store.list({ group, after: from, limit });
        return blocks.map(({ key, length, checksum }) => ({
          key: decodeBlockKey(key),
          length,
          checksum,
        }));
      }, callOptions),
    verify: ({ group, after, bytesMax }, callOptions) =>
      call(async () => {
        const from = after === undefined ? undefined : encodeBlockKey(after);
        const page = await store.verify({ group, after: from, bytesMax });
        return {
          ...page,
          corrupt: page.corrupt.map(decodeBlockKey),
          next: page.next === undefined ? undefined : decodeBlockKey(page.next),
        };
      }, callOptions),
    stats: (callOptions) => call(() => store.stats(), callOptions),
    health: (callOptions) => call(health, callOptions),
  };
}

/** In process nobody has compared content and hash yet; over the wire the codec has. */
function verified(content: BlockContent): BlockContent {
  if (hashBytes(content.bytes) !== content.hash) {
    throw new Failure('corrupt', 'the content does not match the hash that came with it');
  }
  return content;
}

async function start<T>(work: () => T | Promise<T>): Promise<T> {
  return work();
}

/** The caller stops waiting at its time-out or signal; the work itself goes on. */
async function limited<T>(
  work: () => T | Promise<T>,
  options: CallOptions,
  clock: Clock,
): Promise<T> {
  const { signal, timeoutMs } = options;
  if (signal?.aborted) throw new Failure('cancelled', 'the caller gave up');
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new Failure('cancelled', 'the caller gave up'));
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer =
    timeoutMs === undefined
      ? undefined
      : clock.after(timeoutMs, () => reject(new Failure('timeout', `after ${timeoutMs} ms`)));
  try {
    return await Promise.race([start(work), promise]);
  } finally {
    timer?.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}
