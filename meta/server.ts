/** The metadata service's calls over the wire: checks the shape of each command, then asks the service. */
import { Failure } from '../base/failure.ts';
import type { RpcHandler } from '../base/rpc/rpc.ts';
import { ANSWERS } from './answer-wire.ts';
import type { Meta } from './protocol.ts';
import { assertShape } from './shapes.ts';
import { COMMANDS, METHODS } from './wire.ts';

type AnyMethod = (command: unknown) => Promise<unknown>;

/** Commands are values once their shape is checked; `Meta`'s own types cannot say that over a wire. */
export function createMetaHandler(meta: Meta): RpcHandler {
  const service = meta as unknown as Readonly<Record<string, AnyMethod>>;
  return async ({ method, meta: command }) => {
    const name = METHODS.nameOf(method);
    const call = name === undefined ? undefined : service[name];
    if (name === undefined || call === undefined) {
      throw new Failure('invalid', `unknown method ${method}`);
    }
    assertShape(name, COMMANDS[name], command);
    const answer = name === 'status' ? await meta.status() : await call.call(meta, command);
    const shape = ANSWERS[name];
    return { meta: shape === undefined ? answer : shape.pack(answer) };
  };
}
