import type { FoundObject } from '../../../meta/protocol.ts';
import { evaluateReadConditions } from '../conditions.ts';
import {
  addFate,
  parseRead,
  READ_QUERY,
  type ReadInput,
  readReply,
  refuseAnonymousOverrides,
  type Selection,
  selectPart,
  selectRange,
} from '../object-reply.ts';
import { type Context, defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import type { RawReply } from '../request.ts';

/** HeadObject: what GetObject answers, without the bytes and from the metadata alone. */
export const headObject = defineOperation<ReadInput, RawReply>({
  name: 'HeadObject',
  permission: 's3:GetObject',
  body: 'none',
  query: READ_QUERY,
  parse: parseRead,
  async execute(input, context) {
    refuseAnonymousOverrides(input, context.payload.account === undefined);
    const { found, selection } = await select(input, context);
    const reply = readReply(input, found, selection);
    addFate(reply.headers, input, found.object, context);
    return reply;
  },
  serialize: (reply) => reply,
});

async function select(
  input: ReadInput,
  { meta, objects, encryption }: Context,
): Promise<{ found: FoundObject; selection: Selection }> {
  const { bucket, key, versionId } = input;
  if (input.part === undefined) {
    const found = unwrap(await meta.getObject({ bucket, key, versionId }), input);
    await encryption.check(found.object.encryption, input.customer);
    evaluateReadConditions(input.headers, found.object);
    return { found, selection: selectRange(input, found.object) };
  }
  // A part's place comes from the part list, which the object engine knows how to page.
  const opened = unwrap(await objects.open({ bucket, key, versionId }), input);
  try {
    await encryption.check(opened.object.encryption, input.customer);
    evaluateReadConditions(input.headers, opened.object);
    const part = await opened.part(input.part);
    const { object } = opened;
    const found = { bucket: opened.bucket, object };
    return { found, selection: selectPart(input, object, part) };
  } finally {
    opened.close();
  }
}
