import { isPrivateAcl } from '../access/acl.ts';
import { bucketAclOf } from '../access/bucket-access.ts';
import type { BucketSettings } from '../access/bucket-settings.ts';
import { encodeOwnership, type ObjectOwnership, OWNERSHIP_CONFIG } from '../access/ownership.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readOwnershipControls } from '../xml/ownership-controls.ts';

interface Input {
  bucket: string;
  ownership: ObjectOwnership;
}

/** PutBucketOwnershipControls. ACLs can be switched off only when the bucket's gives nobody anything. */
export const putBucketOwnershipControls = defineOperation<Input, null>({
  name: 'PutBucketOwnershipControls',
  permission: 's3:PutBucketOwnershipControls',
  body: 'xml',
  query: ['ownershipControls'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, ownership: readOwnershipControls(xml) };
  },
  async execute({ bucket, ownership }, { meta, access, signal }) {
    if (ownership === 'BucketOwnerEnforced') await access.require(refuseGrants);
    const command = { bucket, name: OWNERSHIP_CONFIG, value: encodeOwnership(ownership) };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});

function refuseGrants(settings: BucketSettings): void {
  const { owner, name } = settings.bucket;
  if (isPrivateAcl(bucketAclOf(settings), owner)) return;
  throw new S3Error('InvalidBucketAclWithObjectOwnership', { details: { BucketName: name } });
}
