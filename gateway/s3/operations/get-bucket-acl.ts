import { bucketAclOf, ownershipOf } from '../access/bucket-access.ts';
import { privateAcl } from '../access/acl.ts';
import { BucketSettings } from '../access/bucket-settings.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { type AccessControlPolicy, accessControlPolicy } from '../xml/access-control-policy.ts';
import { xmlReply } from '../xml/reply.ts';

/** GetBucketAcl: where ACLs do not count, the owner's full control is all there is. */
export const getBucketAcl = defineOperation<{ bucket: string }, AccessControlPolicy>({
  name: 'GetBucketAcl',
  permission: 's3:GetBucketAcl',
  body: 'none',
  query: ['acl'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, accounts, access, signal }) {
    // Read anew: what is shown is what is stored, in the state in which it may be shown.
    const answer = await access.inState(async (expect) => {
      const read = await meta.getBucketSettings({ bucket }, { signal });
      const stale =
        read.ok && expect !== undefined && read.value.bucket.revision !== expect.revision;
      return stale ? { ok: false as const, refusal: 'BucketChanged' as const } : read;
    });
    const found = unwrap(answer, { bucket });
    const settings = new BucketSettings(found.bucket, found.values);
    const { owner: id } = found.bucket;
    const enforced = ownershipOf(settings) === 'BucketOwnerEnforced';
    const grants = enforced ? privateAcl(id) : bucketAclOf(settings);
    const names = await accounts.names([
      id,
      ...grants.flatMap(({ grantee }) => ('id' in grantee ? [grantee.id] : [])),
    ]);
    return { owner: { id, displayName: names.get(id) }, grants, names };
  },
  serialize: (policy) => xmlReply(accessControlPolicy(policy)),
});
