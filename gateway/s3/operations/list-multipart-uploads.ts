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
import {
  type ListMultipartUploadsResult,
  listMultipartUploadsResult,
} from '../xml/list-multipart-uploads-result.ts';
import { ownersOf } from '../xml/elements.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  prefix: string;
  delimiter: string | undefined;
  keyMarker: string;
  uploadIdMarker: string;
  maxUploads: number;
  encoding: EncodingType | undefined;
}

/** ListMultipartUploads: open uploads by key, then by age. */
export const listMultipartUploads = defineOperation<Input, ListMultipartUploadsResult>({
  name: 'ListMultipartUploads',
  permission: 's3:ListBucketMultipartUploads',
  body: 'none',
  query: [
    'uploads',
    'prefix',
    'delimiter',
    'key-marker',
    'upload-id-marker',
    'max-uploads',
    'encoding-type',
  ],
  parse({ bucket, query }) {
    return {
      bucket,
      prefix: nameParameter(query, 'prefix') ?? '',
      delimiter: delimiterParameter(query),
      keyMarker: nameParameter(query, 'key-marker') ?? '',
      uploadIdMarker: nameParameter(query, 'upload-id-marker') ?? '',
      maxUploads: countParameter(query, 'max-uploads', LIST_PAGE_MAX),
      encoding: encodingParameter(query),
    };
  },
  async execute(input, { meta, accounts, signal }) {
    const { bucket, prefix, delimiter, keyMarker, uploadIdMarker, maxUploads } = input;
    const query = {
      bucket,
      prefix,
      delimiter,
      keyMarker: keyMarker === '' ? undefined : keyMarker,
      // Without a key marker S3 looks at no upload id marker.
      uploadIdMarker: keyMarker === '' || uploadIdMarker === '' ? undefined : uploadIdMarker,
      limit: maxUploads,
    };
    const page = unwrap(await meta.listUploads(query, { signal }), { bucket });
    return { ...input, ...page, names: await accounts.names(page.uploads.flatMap(ownersOf)) };
  },
  serialize: (result) => xmlReply(listMultipartUploadsResult(result)),
});
