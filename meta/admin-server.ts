/** The operators' calls over the wire: the shape of each command is checked, then the service asked. */
import { Failure } from '../base/failure.ts';
import type { RpcHandler } from '../base/rpc/rpc.ts';
import type { MetaAdmin } from './admin-protocol.ts';
import { ADMIN_BARE, ADMIN_COMMANDS, ADMIN_METHODS } from './admin-wire.ts';
import { assertShape } from './shapes.ts';

type AnyMethod = (command?: unknown) => Promise<unknown>;

/** Answers the operators' methods and hands every other one on to `others`. */
export function withAdmin(admin: MetaAdmin, others: RpcHandler): RpcHandler {
  const service = admin as unknown as Readonly<Record<string, AnyMethod>>;
  return async (request) => {
    const name = ADMIN_METHODS.nameOf(request.method);
    if (name === undefined) return await others(request);
    const call = service[name];
    if (call === undefined) throw new Failure('internal', `there is no method ${name}`);
    assertShape(name, ADMIN_COMMANDS[name], request.meta);
    const answer = ADMIN_BARE.has(name)
      ? await call.call(admin)
      : await call.call(admin, request.meta);
    return { meta: answer };
  };
}
