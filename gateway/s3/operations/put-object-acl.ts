import { type Grant } from '../../../meta/protocol.ts';
import { grantsOf } from '../access/acl-request.ts';
import { changesNothing, checkPutAcl, ownAcl, shownOwner } from '../access/written-access.ts';
import { type PutAclRequest, parsePutAcl, refuseOtherOwner } from '../acl-body.ts';
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
    let current: readonly Grant[] = [];
    await context.access.require((settings) => checkPutAcl(settings, input.request, current));
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
  announce: (grants: readonly Grant[]) => void,
): ReturnType<Context['meta']['setObjectExtras']> {
  const { meta, accounts, signal } = context;
  const { bucket, object } = unwrap(await meta.getObject(name, { signal }), name);
  const owner = shownOwner(context.settings, object.owner);
  refuseOtherOwner(named, owner);
  const grants = await grantsOf(request, { owner, bucketOwner: bucket.owner }, accounts);
  announce(grants);
  if (context.settings !== undefined) {
    checkPutAcl(context.settings, request, grants);
    if (changesNothing(context.settings, request, grants)) {
      return { ok: true, value: { versionId: shownVersionId(bucket, object) } };
    }
  }
  const { version, revision = 0 } = object;
  const acl = ownAcl(grants, owner).acl ?? grants;
  return meta.setObjectExtras({ ...name, acl, expectObject: { version, revision } }, { signal });
}
