import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { refusalError } from '../refusal.ts';
import { readCreateBucketConfiguration } from '../xml/create-bucket-configuration.ts';
import { CLASSIC_REGION } from '../xml/location-constraint.ts';

interface Input {
  bucket: string;
  locationConstraint: string | undefined;
}

/** The old name of eu-west-1. */
const EU = 'EU';
const EU_REGION = 'eu-west-1';
/** What a region looks like: tells a wrong region from a wrong word. */
const REGION_PATTERN = /^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$/;

/**
 * CreateBucket. Headers that ask for another than a private, unlocked bucket never get here
 * (`screen.ts`). Creating a bucket again that one owns already is a success in us-east-1 and
 * BucketAlreadyOwnedByYou elsewhere, as AWS has it (CreateBucket, "BucketAlreadyOwnedByYou").
 */
export const createBucket = defineOperation<Input, string>({
  name: 'CreateBucket',
  permission: 's3:CreateBucket',
  body: 'xml',
  query: [],
  parse({ bucket, xml }) {
    const { locationConstraint } =
      xml.trim() === '' ? { locationConstraint: undefined } : readCreateBucketConfiguration(xml);
    return { bucket, locationConstraint };
  },
  async execute({ bucket, locationConstraint }, { meta, account, region, signal }) {
    checkLocation(locationConstraint, region);
    const answer = await meta.createBucket({ name: bucket, owner: account.id, region }, { signal });
    if (answer.ok) return bucket;
    if (answer.refusal === 'BucketAlreadyOwnedByYou' && region === CLASSIC_REGION) return bucket;
    throw refusalError(answer, { bucket });
  },
  serialize: (bucket) => ({ status: 200, headers: { Location: `/${bucket}` } }),
});

/**
 * Takes no constraint and the cluster's own region, by whichever name (AWS refuses `us-east-1` as
 * a constraint; tools send it all the same, and it says nothing wrong).
 */
function checkLocation(constraint: string | undefined, region: string): void {
  if (constraint === undefined || constraint === region) return;
  if (constraint === EU && region === EU_REGION) return;
  if (constraint === EU || REGION_PATTERN.test(constraint)) {
    throw new S3Error('IllegalLocationConstraintException', {
      message: `The ${constraint} location constraint is incompatible for the region specific endpoint this request was sent to.`,
    });
  }
  throw new S3Error('InvalidLocationConstraint', {
    details: { LocationConstraint: constraint },
  });
}
