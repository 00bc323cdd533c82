import { type Grant } from '../../../meta/protocol.ts';
import { grantsOf } from '../access/acl-request.ts';
import { ownershipOf } from '../access/bucket-access.ts';
import { checkAcl, ownAcl } from '../access/written-access.ts';
import { type PutAclRequest, parsePutAcl, refuseOtherOwner } from '../acl-body.ts';
import { S3Error } from '../errors.ts';
import { type Context, defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { shownVersionId, versionIdParameter } from '../version-id.ts';

interface Input extends PutAclRequest {
  bucket: string;
  key: string;
  versionId: string | undefined;
}

/** How often an object that changes while its ACL is worked out is read again. */
const ATTEMPTS_MAX = 10;

/** PutObjectAcl, of the current version or the one that is named. */
export const putObjectAcl = defineOperation<Input, { versionId?: string | undefined }>({
  name: 'PutObjectAcl',
  permission: 's3:PutObjectAcl',
  body: 'xml',
  query: ['acl', 'versionId'],
  parse: ({ bucket, key, query, headers, xml }) => ({
    bucket,
    key,
    versionId: versionIdParameter(query),
    ...parsePutAcl(headers, xml),
  }),
  async execute(input, context) {
    let current: { writer: string; grants: Grant[] } = { writer: '', grants: [] };
    await context.access.require((settings) => checkAcl(settings, current.grants, current.writer));
    for (let attempt = 1; ; attempt++) {
      const answer = await putOnce(input, context, (next) => {
        current = next;
      });
      const again = !answer.ok && answer.refusal === 'ObjectChanged' && attempt < ATTEMPTS_MAX;
      if (!again) return unwrap(answer, input);
    }
  },
  serialize: ({ versionId }) => ({ status: 200, headers: { 'x-amz-version-id': versionId } }),
});

/** The list names the object's owner, so it is put on exactly the version that was read. */
async function putOnce(
  { request, owner: named, ...name }: Input,
  context: Context,
  announce: (next: { writer: string; grants: Grant[] }) => void,
): ReturnType<Context['meta']['setObjectExtras']> {
  const { meta, accounts, signal } = context;
  const { bucket, object } = unwrap(await meta.getObject(name, { signal }), name);
  const { settings } = context;
  if (settings === undefined) throw new S3Error('NoSuchBucket');
  const enforced = ownershipOf(settings) === 'BucketOwnerEnforced';
  const owner = enforced ? bucket.owner : object.owner;
  refuseOtherOwner(named, owner);
  const grants = await grantsOf(request, { owner, bucketOwner: bucket.owner }, accounts);
  checkAcl(settings, grants, owner);
  announce({ writer: owner, grants });
  // Accepted where ACLs do not count is only what says what holds anyway.
  if (enforced) return { ok: true, value: { versionId: shownVersionId(bucket, object) } };
  const { version, revision = 0 } = object;
  const acl = ownAcl(grants, owner).acl ?? grants;
  return meta.setObjectExtras({ ...name, acl, expectObject: { version, revision } }, { signal });
}
