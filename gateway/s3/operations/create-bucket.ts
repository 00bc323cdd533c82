import { OBJECT_LOCK_CONFIG } from '../../../meta/protocol.ts';
import { newBucketConfigs } from '../access/new-buckets.ts';
import { S3Error } from '../errors.ts';
import { encodeLockConfiguration } from '../object-lock.ts';
import { type Context, defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { refusalError } from '../refusal.ts';
import { readCreateBucketConfiguration } from '../xml/create-bucket-configuration.ts';
import { CLASSIC_REGION } from '../xml/location-constraint.ts';

interface Input {
  bucket: string;
  locationConstraint: string | undefined;
  /** With object lock, and therefore versioning, from the start. */
  locks: boolean;
}

/** The old name of eu-west-1. */
const EU = 'EU';
const EU_REGION = 'eu-west-1';
/** What a region looks like: tells a wrong region from a wrong word. */
const REGION_PATTERN = /^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$/;

/**
 * CreateBucket. Headers that ask for another than a private bucket never get here (`screen.ts`). Creating a bucket again that one owns already is a success in us-east-1 and
 * BucketAlreadyOwnedByYou elsewhere, as AWS has it (CreateBucket, "BucketAlreadyOwnedByYou").
 */
export const createBucket = defineOperation<Input, string>({
  name: 'CreateBucket',
  permission: 's3:CreateBucket',
  body: 'xml',
  query: [],
  parse({ bucket, headers, xml }) {
    const { locationConstraint } =
      xml.trim() === '' ? { locationConstraint: undefined } : readCreateBucketConfiguration(xml);
    return { bucket, locationConstraint, locks: parseLocks(headers[LOCKS]) };
  },
  async execute({ bucket, locationConstraint, locks }, context) {
    const { meta, account, region, signal } = context;
    checkLocation(locationConstraint, region);
    const configs = {
      ...newBucketConfigs(context.newBuckets, undefined),
      ...(locks && { [OBJECT_LOCK_CONFIG]: encodeLockConfiguration({}) }),
    };
    const command = {
      name: bucket,
      owner: account.id,
      region,
      configs,
      ...(locks && { versioning: 'Enabled' as const }),
    };
    const answer = await meta.createBucket(command, { signal });
    if (answer.ok) return bucket;
    const again = answer.refusal === 'BucketAlreadyOwnedByYou' && region === CLASSIC_REGION;
    if (again && (!locks || (await hasLocks(bucket, context)))) return bucket;
    throw refusalError(answer, { bucket });
  },
  serialize: (bucket) => ({ status: 200, headers: { Location: `/${bucket}` } }),
});

const LOCKS = 'x-amz-bucket-object-lock-enabled';

function parseLocks(value: string | undefined): boolean {
  const wanted = value?.toLowerCase() ?? 'false';
  if (wanted === 'true' || wanted === 'false') return wanted === 'true';
  throw invalidArgument(LOCKS, value ?? '');
}

/** Whether the bucket that is there already is what was asked for. */
async function hasLocks(bucket: string, { meta, signal }: Context): Promise<boolean> {
  const found = await meta.getBucket({ bucket }, { signal });
  return found.ok && found.value.configs.includes(OBJECT_LOCK_CONFIG);
}

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
