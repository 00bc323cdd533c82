/** The optional body of CreateBucket. */
import { S3Error } from '../errors.ts';
import { allowOnly, childText, readXml } from './reader.ts';

export interface CreateBucketConfiguration {
  /** `undefined` when absent or empty. */
  locationConstraint: string | undefined;
}

/** Directory buckets and tags: known to S3, not to Ashlar. */
const NOT_IMPLEMENTED = ['Location', 'Bucket', 'Tags'] as const;

/** Throws MalformedXML, and NotImplemented for elements that ask for another kind of bucket. */
export function readCreateBucketConfiguration(xml: string): CreateBucketConfiguration {
  const root = readXml(xml, { root: 'CreateBucketConfiguration', arrays: [] });
  allowOnly(root, ['LocationConstraint', ...NOT_IMPLEMENTED]);
  for (const name of NOT_IMPLEMENTED) {
    if (root.children.some((child) => child.name === name)) {
      throw new S3Error('NotImplemented', { details: { Element: name } });
    }
  }
  const location = childText(root, 'LocationConstraint')?.trim();
  return { locationConstraint: location === '' ? undefined : location };
}
