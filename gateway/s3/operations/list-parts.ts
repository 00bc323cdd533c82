import { LIST_PAGE_MAX, PART_NUMBER_MAX, type UploadName } from '../../../meta/protocol.ts';
import { type Context, defineOperation } from '../operation.ts';
import {
  countParameter,
  encodingParameter,
  integerParameter,
  uploadIdParameter,
} from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { EncodingType } from '../xml/elements.ts';
import { type ListPartsResult, listPartsResult } from '../xml/list-parts-result.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input extends UploadName {
  partNumberMarker: number;
  maxParts: number;
  encoding: EncodingType | undefined;
}

/** ListParts: the parts of an open upload, by number. */
export const listParts = defineOperation<Input, ListPartsResult>({
  name: 'ListParts',
  permission: 's3:ListMultipartUploadParts',
  body: 'none',
  query: ['uploadId', 'part-number-marker', 'max-parts', 'encoding-type'],
  parse({ bucket, key, query }) {
    return {
      bucket,
      key,
      uploadId: uploadIdParameter(query),
      partNumberMarker: integerParameter(query, 'part-number-marker') ?? 0,
      maxParts: countParameter(query, 'max-parts', LIST_PAGE_MAX),
      encoding: encodingParameter(query),
    };
  },
  async execute(input, context) {
    const { partNumberMarker, maxParts, encoding } = input;
    const page = await readPage(input, context);
    return {
      upload: page.upload,
      parts: page.parts,
      truncated: page.next !== undefined,
      partNumberMarker,
      maxParts,
      encoding,
      caller: context.account,
    };
  },
  serialize: (result) => xmlReply(listPartsResult(result)),
});

async function readPage(input: Input, { meta, signal }: Context) {
  const { bucket, key, uploadId, maxParts } = input;
  const name = { bucket, key, uploadId };
  if (maxParts === 0) {
    const upload = unwrap(await meta.getUpload(name, { signal }), input);
    return { upload, parts: [], next: undefined };
  }
  // No part has a number beyond the limit, so a marker beyond it is as good as the limit.
  const after = Math.min(input.partNumberMarker, PART_NUMBER_MAX);
  return unwrap(await meta.listParts({ ...name, after, limit: maxParts }, { signal }), input);
}
