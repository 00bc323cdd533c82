import { LIST_PAGE_MAX, PART_NUMBER_MAX, type UploadName } from '../../../meta/protocol.ts';
import { abortHeaders } from '../lifecycle.ts';
import { defineOperation } from '../operation.ts';
import {
  countParameter,
  encodingParameter,
  integerParameter,
  uploadIdParameter,
} from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { EncodingType } from '../xml/elements.ts';
import { type ListPartsResult, listPartsResult } from '../xml/list-parts-result.ts';
import { ownersOf } from '../xml/elements.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input extends UploadName {
  partNumberMarker: number;
  maxParts: number;
  encoding: EncodingType | undefined;
}

interface Output {
  result: ListPartsResult;
  abort: Record<string, string>;
}

/** ListParts: the parts of an open upload, by number. */
export const listParts = defineOperation<Input, Output>({
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
  async execute({ partNumberMarker, maxParts, encoding, ...name }, context) {
    const { meta, accounts, signal } = context;
    // No part has a number beyond the limit, so a marker beyond it is as good as the limit.
    const after = Math.min(partNumberMarker, PART_NUMBER_MAX);
    const page = unwrap(
      await meta.listParts({ ...name, after, limit: maxParts }, { signal }),
      name,
    );
    const result = {
      upload: page.upload,
      parts: page.parts,
      truncated: page.next !== undefined,
      partNumberMarker,
      maxParts,
      encoding,
      names: await accounts.names(ownersOf(page.upload)),
    };
    return { result, abort: abortHeaders(context.settings, page.upload) };
  },
  serialize: ({ result, abort }) => xmlReply(listPartsResult(result), abort),
});
