import { OBJECT_LOCK_CONFIG } from '../../../meta/protocol.ts';
import { ACL_CONFIG, encodeAcl, isPrivateAcl, isPublicAcl } from '../access/acl.ts';
import { type AclRequest, grantsOf, parseAclHeaders } from '../access/acl-request.ts';
import { newBucketConfigs } from '../access/new-buckets.ts';
import { isObjectOwnership, type ObjectOwnership, OWNERSHIP_CONFIG } from '../access/ownership.ts';
import { ownAcl } from '../access/written-access.ts';
import { S3Error } from '../errors.ts';
import { encodeLockConfiguration } from '../object-lock.ts';
import { type Context, defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { refusalError, unwrap } from '../refusal.ts';
import { readCreateBucketConfiguration } from '../xml/create-bucket-configuration.ts';
import { CLASSIC_REGION } from '../xml/location-constraint.ts';

interface Input {
  bucket: string;
  locationConstraint: string | undefined;
  /** With object lock, and therefore versioning, from the start. */
  locks: boolean;
  acl: AclRequest | undefined;
  ownership: ObjectOwnership | undefined;
}

/** The old name of eu-west-1. */
const EU = 'EU';
const EU_REGION = 'eu-west-1';
/** What a region looks like: tells a wrong region from a wrong word. */
const REGION_PATTERN = /^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$/;

/**
 * CreateBucket. Creating a bucket again that one owns already is a success in us-east-1 and
 * BucketAlreadyOwnedByYou elsewhere, as AWS has it (CreateBucket, "BucketAlreadyOwnedByYou"). With
 * another ACL than it has it is BucketAlreadyExists, where AWS would replace the ACL of a bucket that
 * is in use. Asked for lock or an ownership that it has not, it is BucketAlreadyOwnedByYou everywhere.
 */
export const createBucket = defineOperation<Input, string>({
  name: 'CreateBucket',
  permission: 's3:CreateBucket',
  body: 'xml',
  query: [],
  parse({ bucket, headers, xml }) {
    const { locationConstraint } =
      xml.trim() === '' ? { locationConstraint: undefined } : readCreateBucketConfiguration(xml);
    return {
      bucket,
      locationConstraint,
      locks: parseLocks(headers[LOCKS]),
      acl: parseAclHeaders(headers),
      ownership: parseOwnership(headers[OWNERSHIP]),
    };
  },
  async execute(input, context) {
    const { bucket, locationConstraint, locks } = input;
    const { meta, account, region, signal } = context;
    checkLocation(locationConstraint, region);
    const acl = await newAcl(input, context);
    const configs: Record<string, string> = {
      ...newBucketConfigs(context.newBuckets, input.ownership),
      ...(acl !== undefined && { [ACL_CONFIG]: acl }),
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
    if (answer.refusal !== 'BucketAlreadyOwnedByYou') throw refusalError(answer, { bucket });
    const found = unwrap(await meta.getBucketSettings({ bucket }, { signal }), { bucket });
    if (found.values[ACL_CONFIG] !== acl) {
      throw new S3Error('BucketAlreadyExists', { details: { BucketName: bucket } });
    }
    const { values } = found;
    const ownedAsAsked =
      input.ownership === undefined || values[OWNERSHIP_CONFIG] === configs[OWNERSHIP_CONFIG];
    const asAsked = ownedAsAsked && (!locks || values[OBJECT_LOCK_CONFIG] !== undefined);
    if (region === CLASSIC_REGION && asAsked) return bucket;
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

const OWNERSHIP = 'x-amz-object-ownership';

function parseOwnership(value: string | undefined): ObjectOwnership | undefined {
  if (value === undefined || isObjectOwnership(value)) return value;
  throw invalidArgument(OWNERSHIP, value);
}

/** The bucket's ACL as it is kept; undefined: it is its owner's alone. */
async function newAcl(
  { acl: request, ownership }: Input,
  { account, accounts, newBuckets }: Context,
): Promise<string | undefined> {
  if (request === undefined) return undefined;
  const owner = account.id;
  const grants = await grantsOf(request, { owner, bucketOwner: owner }, accounts);
  const { acl } = ownAcl(grants, owner);
  if (acl === undefined) return undefined;
  const enforced = ownership ?? (newBuckets === 'aws' ? 'BucketOwnerEnforced' : 'ObjectWriter');
  if (enforced === 'BucketOwnerEnforced' && !isPrivateAcl(grants, owner)) {
    throw new S3Error('InvalidBucketAclWithObjectOwnership');
  }
  if (newBuckets === 'aws' && isPublicAcl(grants)) {
    throw new S3Error('InvalidBucketAclWithBlockPublicAccessError');
  }
  return encodeAcl(acl);
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
