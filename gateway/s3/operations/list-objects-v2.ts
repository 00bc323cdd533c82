import { LIST_PAGE_MAX } from '../../../meta/protocol.ts';
import { defineOperation } from '../operation.ts';
import {
  countParameter,
  decodeToken,
  delimiterParameter,
  encodeToken,
  encodingParameter,
  invalidArgument,
  nameParameter,
} from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';
import type { EncodingType } from '../xml/elements.ts';
import { type ListBucketResultV2, listBucketResultV2 } from '../xml/list-bucket-result-v2.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  prefix: string;
  continuationToken: string | undefined;
  startAfter: string | undefined;
  /** What the token or `start-after` says. */
  after: string | undefined;
  delimiter: string | undefined;
  maxKeys: number;
  encoding: EncodingType | undefined;
  fetchOwner: boolean;
}

/** ListObjectsV2: the listing that goes on from an opaque token. */
export const listObjectsV2 = defineOperation<Input, ListBucketResultV2>({
  name: 'ListObjectsV2',
  permission: 's3:ListBucket',
  body: 'none',
  query: [
    'list-type',
    'prefix',
    'continuation-token',
    'start-after',
    'delimiter',
    'max-keys',
    'encoding-type',
    'fetch-owner',
  ],
  parse({ bucket, query, headers }) {
    checkOptionalAttributes(headers);
    const continuationToken = query.get('continuation-token');
    const startAfter = nameParameter(query, 'start-after');
    const fetchOwner = query.get('fetch-owner')?.toLowerCase() ?? '';
    if (fetchOwner !== '' && fetchOwner !== 'true' && fetchOwner !== 'false') {
      throw invalidArgument('fetch-owner', fetchOwner);
    }
    // An empty token starts from the beginning, as the s3-tests suite wants it.
    const after = continuationToken ? decodeToken(continuationToken) : startAfter;
    return {
      bucket,
      prefix: nameParameter(query, 'prefix') ?? '',
      continuationToken,
      startAfter,
      after: after === '' ? undefined : after,
      delimiter: delimiterParameter(query),
      maxKeys: countParameter(query, 'max-keys', LIST_PAGE_MAX),
      encoding: encodingParameter(query),
      fetchOwner: fetchOwner === 'true',
    };
  },
  async execute(input, { meta, accounts, signal }) {
    const { bucket, prefix, delimiter, after, maxKeys } = input;
    const page = unwrap(
      await meta.listObjects({ bucket, prefix, delimiter, after, limit: maxKeys }, { signal }),
      { bucket },
    );
    return {
      ...input,
      nextContinuationToken: page.next === undefined ? undefined : encodeToken(page.next),
      objects: page.objects,
      commonPrefixes: page.commonPrefixes,
      names: input.fetchOwner
        ? await accounts.names(page.objects.map(({ owner }) => owner))
        : undefined,
    };
  },
  serialize: (result) => xmlReply(listBucketResultV2(result)),
});

/**
 * `x-amz-optional-object-attributes` may ask for RestoreStatus, which only objects in an archive
 * class have: there are none, so there is nothing to add.
 */
export function checkOptionalAttributes(headers: HeaderMap): void {
  const value = headers['x-amz-optional-object-attributes'];
  if (value === undefined) return;
  for (const attribute of value.split(',')) {
    if (attribute.trim() !== 'RestoreStatus') {
      throw invalidArgument('x-amz-optional-object-attributes', value);
    }
  }
}
