/**
 * What a typed client and its server share: the names of the methods and the numbers they travel
 * under. `meta/` and `storage-node/` write their `client.ts` and `server.ts` with it.
 */
import { Failure } from '../failure.ts';
import type { RpcHandler, RpcMessage, RpcRequest } from './rpc.ts';

export interface MethodTable<Name extends string> {
  /** The number of each method: its position in the list, counted from the table's first number. */
  readonly numbers: Readonly<Record<Name, number>>;
  /** The name behind a number, for dispatch, logs and metrics. */
  nameOf(method: number): Name | undefined;
}

/**
 * Numbers are positions, counted from `first`: append new names at the end and leave removed ones in
 * place. Two tables on one port keep apart by their first numbers.
 */
export function methodTable<const Name extends string>(
  names: readonly Name[],
  first = 1,
): MethodTable<NoInfer<Name>> {
  const entries = names.map((name, index) => [name, index + first] as const);
  const numbers = Object.fromEntries(entries) as Record<Name, number>;
  return { numbers, nameOf: (method) => names[method - first] };
}

type MethodHandlers<Name extends string> = Readonly<
  Record<Name, (request: RpcRequest) => Promise<RpcMessage>>
>;

/** A server's handler: one function per method; an unknown number is refused with `invalid`. */
export function dispatchMethods<Name extends string>(
  table: MethodTable<Name>,
  handlers: MethodHandlers<Name>,
): RpcHandler {
  return (request) => {
    const name = table.nameOf(request.method);
    if (name === undefined) {
      return Promise.reject(new Failure('invalid', `unknown method ${request.method}`));
    }
    return handlers[name](request);
  };
}
