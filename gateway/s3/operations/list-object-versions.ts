import { LIST_PAGE_MAX } from '../../../meta/protocol.ts';
import { defineOperation } from '../operation.ts';
import {
  countParameter,
  delimiterParameter,
  encodingParameter,
  invalidArgument,
  nameParameter,
} from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import { checkedVersionId } from '../version-id.ts';
import type { EncodingType } from '../xml/elements.ts';
import { type ListVersionsResult, listVersionsResult } from '../xml/list-versions-result.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  prefix: string;
  delimiter: string | undefined;
  keyMarker: string;
  versionIdMarker: string;
  maxKeys: number;
  encoding: EncodingType | undefined;
}

/** ListObjectVersions: versions and delete markers by key, then newest first. */
export const listObjectVersions = defineOperation<Input, ListVersionsResult>({
  name: 'ListObjectVersions',
  permission: 's3:ListBucketVersions',
  body: 'none',
  query: [
    'versions',
    'prefix',
    'delimiter',
    'key-marker',
    'version-id-marker',
    'max-keys',
    'encoding-type',
  ],
  parse({ bucket, query }) {
    const keyMarker = nameParameter(query, 'key-marker') ?? '';
    const versionIdMarker = query.get('version-id-marker') ?? '';
    if (versionIdMarker !== '') checkedVersionId(versionIdMarker);
    if (versionIdMarker !== '' && keyMarker === '') {
      throw invalidArgument(
        'version-id-marker',
        versionIdMarker,
        'A version-id marker cannot be specified without a key marker.',
      );
    }
    return {
      bucket,
      prefix: nameParameter(query, 'prefix') ?? '',
      delimiter: delimiterParameter(query),
      keyMarker,
      versionIdMarker,
      maxKeys: countParameter(query, 'max-keys', LIST_PAGE_MAX),
      encoding: encodingParameter(query),
    };
  },
  async execute(input, { meta, accounts, signal }) {
    const { bucket, prefix, delimiter, keyMarker, versionIdMarker, maxKeys } = input;
    const query = {
      bucket,
      prefix,
      delimiter,
      keyMarker: keyMarker === '' ? undefined : keyMarker,
      versionIdMarker: versionIdMarker === '' ? undefined : versionIdMarker,
      limit: maxKeys,
    };
    const { versions, commonPrefixes, next } = unwrap(await meta.listVersions(query, { signal }), {
      bucket,
    });
    const names = await accounts.names(versions.map(({ owner }) => owner));
    return { ...input, versions, commonPrefixes, next, names };
  },
  serialize: (result) => xmlReply(listVersionsResult(result)),
});
