/** The answer of ListBuckets. */
import type { Bucket } from '../../../meta/protocol.ts';
import { type Owner, ownerElement } from './elements.ts';
import { document, element, text, timestamp } from './writer.ts';

export interface ListAllMyBucketsResult {
  owner: Owner;
  buckets: readonly Bucket[];
  /** AWS names each bucket's region only when the request has a parameter. */
  withRegion: boolean;
  /** Echoed when the request had one. */
  prefix?: string | undefined;
  continuationToken?: string | undefined;
}

export function listAllMyBucketsResult(result: ListAllMyBucketsResult): string {
  const buckets = result.buckets.map((bucket) =>
    element(
      'Bucket',
      text('Name', bucket.name),
      text('CreationDate', timestamp(bucket.createdMs)),
      text('BucketRegion', result.withRegion ? bucket.region : undefined),
    ),
  );
  return document(
    'ListAllMyBucketsResult',
    ownerElement('Owner', result.owner),
    element('Buckets', ...buckets),
    text('Prefix', result.prefix),
    text('ContinuationToken', result.continuationToken),
  );
}
