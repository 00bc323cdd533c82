import type { OpenedObject } from '../../object/engine.ts';
import { evaluateReadConditions } from '../conditions.ts';
import {
  addFate,
  parseRead,
  READ_QUERY,
  type ReadInput,
  readReply,
  refuseAnonymousOverrides,
  selectPart,
  selectRange,
} from '../object-reply.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import type { ByteSource, RawReply } from '../request.ts';

/** GetObject. */
export const getObject = defineOperation<ReadInput, RawReply>({
  name: 'GetObject',
  permission: 's3:GetObject',
  body: 'none',
  query: READ_QUERY,
  parse: parseRead,
  async execute(input, context) {
    refuseAnonymousOverrides(input, context.payload.account === undefined);
    const { bucket, key, versionId } = input;
    const opened = unwrap(await context.objects.open({ bucket, key, versionId }), input);
    try {
      const { encryption } = opened.object;
      if (encryption !== undefined || input.customer !== undefined) {
        await context.encryption.unlock(opened, input.customer);
      }
      const reply = await replyWith(input, opened);
      addFate(reply.headers, input, opened.object, context);
      return reply;
    } catch (error) {
      opened.close();
      throw error;
    }
  },
  serialize: (reply) => reply,
});

/** On success the reply owns `opened` and closes it when it has been sent. */
async function replyWith(input: ReadInput, opened: OpenedObject): Promise<RawReply> {
  const { object } = opened;
  evaluateReadConditions(input.headers, object);
  const selection =
    input.part === undefined
      ? selectRange(input, object)
      : selectPart(input, object, await opened.part(input.part));
  const reply = readReply(input, opened, selection);
  const size = selection.range.end - selection.range.start;
  if (size === 0) {
    opened.close();
    return reply;
  }
  // The first bytes are fetched before the reply begins: if no replica has them it can still be an
  // error, and a small object is sent in one piece.
  const source = opened.read(selection.range)[Symbol.asyncIterator]();
  const first = await source.next();
  if (first.done !== true && first.value.length === size) {
    await source.return?.();
    opened.close();
    return { ...reply, body: first.value };
  }
  return { ...reply, body: resumed(first, source), finished: () => opened.close() };
}

/** An iteration that was begun already, from its first step on. */
function resumed(first: IteratorResult<Uint8Array>, source: AsyncIterator<Uint8Array>): ByteSource {
  let pending: IteratorResult<Uint8Array> | undefined = first;
  const iterator: AsyncIterator<Uint8Array> = {
    next() {
      if (pending === undefined) return source.next();
      const step = pending;
      pending = undefined;
      return Promise.resolve(step);
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
