/** `MetaAdmin` over the wire; the channel's limits are those of `client.ts`. */
import type { CallOptions } from '../base/call.ts';
import type { RpcChannel } from '../base/rpc/rpc.ts';
import type { MetaAdmin } from './admin-protocol.ts';
import { ADMIN_BARE, ADMIN_METHODS, type AdminMethod } from './admin-wire.ts';

export { META_RPC_LIMITS } from './wire.ts';

/**
 * Beside the service's own failures, calls reject with those of the channel. None is asked twice: an
 * operator sees what happened and decides.
 */
export function createMetaAdminClient(channel: RpcChannel): MetaAdmin {
  const { numbers } = ADMIN_METHODS;
  const entries = Object.entries(numbers).map(([key, number]) => {
    const call = async (command: unknown, options?: CallOptions): Promise<unknown> =>
      (await channel.call(number, { meta: command }, options)).meta;
    const bare = ADMIN_BARE.has(key as AdminMethod);
    return [key, bare ? (options?: CallOptions) => call(undefined, options) : call] as const;
  });
  // The table names exactly the methods of MetaAdmin; the server answers with what they return.
  return Object.fromEntries(entries) as unknown as MetaAdmin;
}
