/** A storage node's calls over the wire: from messages to the block store and back. */
import { payloadBuffers } from '../base/buffer-pool.ts';
import { Failure } from '../base/failure.ts';
import { dispatchMethods } from '../base/rpc/method-table.ts';
import type { RpcHandler, RpcMessage, RpcRequest } from '../base/rpc/rpc.ts';
import { serveJournal } from './journal-wire.ts';
import type { BlockContent, JournalNode, NodeHealth } from './protocol.ts';
import type { BlockStore } from './store.ts';
import {
  decodeGet,
  decodeKey,
  decodeKeys,
  decodeList,
  decodeVerify,
  encodeEntries,
  encodeFlags,
  encodeFound,
  encodeVerified,
  METHODS,
} from './wire.ts';

const NOTHING: RpcMessage = { meta: undefined };

/**
 * Works on the store directly, under the keys as they came: the codec has verified the payload
 * against its hash, so that hash is the content's and nothing is hashed twice in this process.
 */
export function createStorageNodeHandler(
  store: BlockStore,
  health: () => NodeHealth,
  journal?: JournalNode,
): RpcHandler {
  return dispatchMethods(METHODS, {
    async put(request) {
      const content = contentOf(request);
      await store.put(decodeKey(request.meta), content);
      // Durable, so the store has no more use for it. After a failure it might.
      payloadBuffers.recycle(content.bytes);
      return NOTHING;
    },
    async get(request) {
      const { key, range } = decodeGet(request.meta);
      const { bytes, hash, length, checksum } = await store.get(key, range);
      const meta = encodeFound(length, checksum);
      return { meta, payload: bytes, payloadHash: hash, recyclePayload: true };
    },
    async has(request) {
      return { meta: undefined, payload: encodeFlags(store.has(decodeKeys(request.payload))) };
    },
    async delete(request) {
      await store.delete(decodeKeys(request.payload));
      return NOTHING;
    },
    async restore(request) {
      await store.restore(decodeKey(request.meta), contentOf(request));
      return NOTHING;
    },
    async list(request) {
      return {
        meta: undefined,
        payload: encodeEntries(await store.list(decodeList(request.meta))),
      };
    },
    async verify(request) {
      return encodeVerified(await store.verify(decodeVerify(request.meta)));
    },
    stats: async () => ({ meta: store.stats() }),
    health: async () => ({ meta: health() }),
    journal: (request) => serveJournal(journal, request),
  });
}

function contentOf(request: RpcRequest): BlockContent {
  if (request.payload === undefined) throw new Failure('invalid', 'a block has content');
  return { bytes: request.payload, hash: request.payloadHash };
}
