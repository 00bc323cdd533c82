import { privateAcl } from '../access/acl.ts';
import { ownershipOf } from '../access/bucket-access.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { shownVersionId, versionIdParameter } from '../version-id.ts';
import { type AccessControlPolicy, accessControlPolicy } from '../xml/access-control-policy.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

interface Output {
  policy: AccessControlPolicy;
  versionId: string | undefined;
}

/** GetObjectAcl, of the current version or the one that is named. */
export const getObjectAcl = defineOperation<Input, Output>({
  name: 'GetObjectAcl',
  permission: 's3:GetObjectAcl',
  body: 'none',
  query: ['acl', 'versionId'],
  parse: ({ bucket, key, query }) => ({ bucket, key, versionId: versionIdParameter(query) }),
  async execute(input, context) {
    const { meta, accounts, signal } = context;
    const found = unwrap(await meta.getObject(input, { signal }), input);
    const { bucket, object } = found;
    // As of the state in which the object was read.
    const { settings } = context;
    const enforced = settings !== undefined && ownershipOf(settings) === 'BucketOwnerEnforced';
    const id = enforced ? bucket.owner : object.owner;
    const grants = enforced ? privateAcl(id) : (object.acl ?? privateAcl(id));
    const names = await accounts.names([
      id,
      ...grants.flatMap(({ grantee }) => ('id' in grantee ? [grantee.id] : [])),
    ]);
    return {
      policy: { owner: { id, displayName: names.get(id) }, grants, names },
      versionId: shownVersionId(bucket, object),
    };
  },
  serialize: ({ policy, versionId }) =>
    xmlReply(accessControlPolicy(policy), { 'x-amz-version-id': versionId }),
});
