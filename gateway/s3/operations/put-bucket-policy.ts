import { publicAccessBlockOf } from '../access/bucket-access.ts';
import { parsePolicy, POLICY_CONFIG } from '../access/policy/parse.ts';
import type { BucketPolicy } from '../access/policy/policy.ts';
import { namedAccounts } from '../access/policy/principals.ts';
import { isPublic } from '../access/policy/public.ts';
import type { AccountDirectory } from '../auth/accounts.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { invalidArgument } from '../parameters.ts';
import { unwrap } from '../refusal.ts';
import type { HeaderMap } from '../request.ts';

interface Input {
  bucket: string;
  /** As sent. */
  text: string;
  policy: BucketPolicy;
  /** The sender knows that he may lose the right to do this again. */
  confirmed: boolean;
}

/** PutBucketPolicy: every request that is answered later goes by it. */
export const putBucketPolicy = defineOperation<Input, null>({
  name: 'PutBucketPolicy',
  permission: 's3:PutBucketPolicy',
  body: 'xml',
  query: ['policy'],
  parse({ bucket, headers, xml }) {
    const confirmed = confirmsRemoval(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, text: xml, policy: parsePolicy(xml, bucket), confirmed };
  },
  async execute({ bucket, text, policy, confirmed }, { meta, access, accounts, signal }) {
    await refuseStrangers(policy, accounts);
    const opens = isPublic(policy);
    await access.require((settings) => {
      if (opens && publicAccessBlockOf(settings).blockPublicPolicy) throw blocked();
      if (confirmed) return;
      const need = { action: 's3:PutBucketPolicy', bucket, key: '', versionId: undefined };
      if (!access.allows([need], settings.with(POLICY_CONFIG, text))) throw unconfirmed();
    });
    const config = { bucket, name: POLICY_CONFIG, value: text };
    return unwrap(await meta.setBucketConfig(config, { signal }), { bucket });
  },
  serialize: () => ({ status: 204, headers: {} }),
});

/** Whoever a policy names must be there: a slip of the pen would allow, or deny, nothing. */
async function refuseStrangers(policy: BucketPolicy, accounts: AccountDirectory): Promise<void> {
  for (const { by, value } of namedAccounts(policy)) {
    const found = accounts.known(by, value) ?? (await accounts.account(by, value));
    if (found === undefined) {
      throw new S3Error('MalformedPolicy', {
        message: 'Invalid principal in policy',
        details: { Detail: `There is no account ${value}.` },
      });
    }
  }
}

function blocked(): S3Error {
  return new S3Error('AccessDenied', {
    message:
      "Public policies are prevented by the BlockPublicPolicy setting of the bucket's public access block.",
  });
}

function unconfirmed(): S3Error {
  return new S3Error('AccessDenied', {
    message: `With this policy you could not change it again. Send ${CONFIRM}: true to do it all the same.`,
  });
}

const CONFIRM = 'x-amz-confirm-remove-self-bucket-access';

/** Throws InvalidArgument for anything but a boolean. */
function confirmsRemoval(headers: HeaderMap): boolean {
  const value = headers[CONFIRM]?.toLowerCase() ?? 'false';
  if (value === 'true' || value === 'false') return value === 'true';
  throw invalidArgument(CONFIRM, value, `${CONFIRM} must be true or false`);
}
