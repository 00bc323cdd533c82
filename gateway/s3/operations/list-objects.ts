import { LIST_PAGE_MAX } from '../../../meta/protocol.ts';
import { defineOperation } from '../operation.ts';
import {
  countParameter,
  delimiterParameter,
  encodingParameter,
  nameParameter,
} from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { EncodingType } from '../xml/elements.ts';
import { type ListBucketResult, listBucketResult } from '../xml/list-bucket-result.ts';
import { xmlReply } from '../xml/reply.ts';
import { checkOptionalAttributes } from './list-objects-v2.ts';

interface Input {
  bucket: string;
  prefix: string;
  marker: string;
  delimiter: string | undefined;
  maxKeys: number;
  encoding: EncodingType | undefined;
}

/** ListObjects: the first version of the listing, which goes on from a key. */
export const listObjects = defineOperation<Input, ListBucketResult>({
  name: 'ListObjects',
  permission: 's3:ListBucket',
  body: 'none',
  query: ['prefix', 'marker', 'delimiter', 'max-keys', 'encoding-type'],
  parse({ bucket, query, headers }) {
    checkOptionalAttributes(headers);
    return {
      bucket,
      prefix: nameParameter(query, 'prefix') ?? '',
      marker: nameParameter(query, 'marker') ?? '',
      delimiter: delimiterParameter(query),
      maxKeys: countParameter(query, 'max-keys', LIST_PAGE_MAX),
      encoding: encodingParameter(query),
    };
  },
  async execute(input, { meta, accounts, signal }) {
    const { bucket, prefix, marker, delimiter, maxKeys } = input;
    const after = marker === '' ? undefined : marker;
    const page = unwrap(
      await meta.listObjects({ bucket, prefix, delimiter, after, limit: maxKeys }, { signal }),
      { bucket },
    );
    return {
      ...input,
      nextMarker: delimiter === undefined ? undefined : page.next,
      truncated: page.next !== undefined,
      objects: page.objects,
      commonPrefixes: page.commonPrefixes,
      names: await accounts.names(page.objects.map(({ owner }) => owner)),
    };
  },
  serialize: (result) => xmlReply(listBucketResult(result)),
});
