import type { ObjectRecord } from '../../../meta/protocol.ts';
import { evaluateReadConditions } from '../conditions.ts';
import {
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
import { requireCurrentVersion } from '../version-id.ts';

/** HeadObject: what GetObject answers, without the bytes and from the metadata alone. */
export const headObject = defineOperation<ReadInput, RawReply>({
  name: 'HeadObject',
  permission: 's3:GetObject',
  body: 'none',
  query: READ_QUERY,
  parse: parseRead,
  async execute(input, context) {
    refuseAnonymousOverrides(input, context.payload.account === undefined);
    requireCurrentVersion(input.versionId, input.key);
    const { object, selection } = await select(input, context);
    return readReply(input, object, selection);
  },
  serialize: (reply) => reply,
});

async function select(
  input: ReadInput,
  { meta, objects }: Context,
): Promise<{ object: ObjectRecord; selection: Selection }> {
  const { bucket, key } = input;
  if (input.part === undefined) {
    const { object } = unwrap(await meta.getObject({ bucket, key }), input);
    evaluateReadConditions(input.headers, object);
    return { object, selection: selectRange(input, object) };
  }
  // A part's place comes from the part list, which the object engine knows how to page.
  const opened = unwrap(await objects.open({ bucket, key }), input);
  try {
    evaluateReadConditions(input.headers, opened.object);
    const part = await opened.part(input.part);
    return { object: opened.object, selection: selectPart(input, opened.object, part) };
  } finally {
    opened.close();
  }
}
