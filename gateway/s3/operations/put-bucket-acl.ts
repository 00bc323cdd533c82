import { ACL_CONFIG, encodeAcl } from '../access/acl.ts';
import { type AclRequest, grantsOf } from '../access/acl-request.ts';
import { changesNothing, checkPutAcl, ownAcl } from '../access/written-access.ts';
import { type PutAclRequest, parsePutAcl, refuseOtherOwner } from '../acl-body.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { S3Error } from '../errors.ts';

interface Input extends PutAclRequest {
  bucket: string;
}

/** PutBucketAcl. */
export const putBucketAcl = defineOperation<Input, null>({
  name: 'PutBucketAcl',
  permission: 's3:PutBucketAcl',
  body: 'xml',
  query: ['acl'],
  parse: ({ bucket, headers, xml }) => ({ bucket, ...parsePutAcl(headers, xml) }),
  async execute({ bucket, request, owner: named }, context) {
    const { meta, accounts, access, signal } = context;
    // By the settings of this moment, as it may be that nothing is written.
    const { owner } = unwrap(await meta.getBucket({ bucket }, { signal }), { bucket });
    refuseOtherOwner(named, owner);
    const grants = await grantsOf(onBucket(request), { owner, bucketOwner: owner }, accounts);
    await access.require((current) => checkPutAcl(current, request, grants));
    const { settings } = context;
    if (settings === undefined) throw new S3Error('NoSuchBucket');
    if (changesNothing(settings, request, grants)) return null;
    const { acl } = ownAcl(grants, owner);
    const config = { bucket, name: ACL_CONFIG };
    const command = acl === undefined ? config : { ...config, value: encodeAcl(acl) };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});

/** Canned lists for the owner of the bucket mean nothing on the bucket itself (AWS: ignored). */
function onBucket(request: AclRequest): AclRequest {
  const ofObjects =
    request.kind === 'canned' &&
    (request.canned === 'bucket-owner-read' || request.canned === 'bucket-owner-full-control');
  return ofObjects ? { kind: 'canned', canned: 'private' } : request;
}
