/** `StorageNode` over the wire. */
import type { RpcChannel } from '../base/rpc/rpc.ts';
import { createJournalClient } from './journal-wire.ts';
import { encodeBlockKey, type StorageNode } from './protocol.ts';
import {
  decodeEntries,
  decodeFlags,
  decodeFound,
  decodeHealth,
  decodeStats,
  decodeVerified,
  encodeGet,
  encodeKeys,
  encodeList,
  encodeVerify,
  METHODS,
} from './wire.ts';

export { STORAGE_NODE_RPC_LIMITS } from './wire.ts';

/** The method behind its number, for metrics. */
export function storageNodeMethodName(method: number): string | undefined {
  return METHODS.nameOf(method);
}

/**
 * Beside the node's own failures, calls reject with those of the channel: `unavailable`, `timeout`,
 * `cancelled`, `unknown-outcome`, `unauthenticated`. All calls may be repeated without harm.
 */
export function createStorageNodeClient(channel: RpcChannel): StorageNode {
  const { numbers } = METHODS;
  return {
    journal: createJournalClient(channel, numbers.journal),
    async put(key, content, options) {
      const { bytes: payload, hash: payloadHash } = content;
      await channel.call(numbers.put, { meta: encodeBlockKey(key), payload, payloadHash }, options);
    },
    async get(key, range, options) {
      const answer = await channel.call(numbers.get, { meta: encodeGet(key, range) }, options);
      const { length, checksum } = decodeFound(answer.meta);
      return { bytes: answer.payload ?? NO_BYTES, hash: answer.payloadHash, length, checksum };
    },
    async has(keys, options) {
      const message = { meta: undefined, payload: encodeKeys(keys) };
      const answer = await channel.call(numbers.has, message, options);
      return decodeFlags(answer.payload, keys.length);
    },
    async delete(keys, options) {
      const message = { meta: undefined, payload: encodeKeys(keys) };
      await channel.call(numbers.delete, message, options);
    },
    async restore(key, content, options) {
      const { bytes: payload, hash: payloadHash } = content;
      await channel.call(
        numbers.restore,
        { meta: encodeBlockKey(key), payload, payloadHash },
        options,
      );
    },
    async list({ group, after, limit }, options) {
      const message = { meta: encodeList(group, limit, after) };
      return decodeEntries((await channel.call(numbers.list, message, options)).payload);
    },
    async verify({ group, after, bytesMax }, options) {
      const message = { meta: encodeVerify(group, bytesMax, after) };
      return decodeVerified(await channel.call(numbers.verify, message, options));
    },
    async stats(options) {
      return decodeStats((await channel.call(numbers.stats, { meta: undefined }, options)).meta);
    },
    async health(options) {
      return decodeHealth((await channel.call(numbers.health, { meta: undefined }, options)).meta);
    },
  };
}

const NO_BYTES: Buffer = Buffer.alloc(0);
