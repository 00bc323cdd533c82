/** Several accounts at one server: who they are, and a client for each. */
import { createHash } from 'node:crypto';
import { after } from 'node:test';
import { S3 } from '@aws-sdk/client-s3';
import type { ConfiguredAccount } from '../../gateway/config.ts';

/** An account of the configuration with ids that tests can name. */
export function person(name: string): ConfiguredAccount & { id: string; number: string } {
  const digest = createHash('sha256').update(`test account ${name}`).digest('hex');
  return {
    displayName: name,
    id: digest,
    number: String(Number.parseInt(digest.slice(0, 11), 16) % 1e12).padStart(12, '0'),
    email: `${name}@example.com`,
    accessKey: `KEYOF${name.toUpperCase()}`,
    secretKey: `the secret of ${name}, for tests only`,
  };
}

export const ANNA = person('anna');
export const BERT = person('bert');

/** The SDK as that account; without one, unsigned. No retries. */
export function clientOf(
  endpoint: string,
  account: Pick<ConfiguredAccount, 'accessKey' | 'secretKey'> | undefined,
): S3 {
  return new S3({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    ...(account === undefined
      ? { signer: { sign: (request) => Promise.resolve(request) }, credentials: NOBODY }
      : {
          credentials: { accessKeyId: account.accessKey, secretAccessKey: account.secretKey },
        }),
  });
}

/** Never sent: the signer above signs nothing. */
const NOBODY = { accessKeyId: 'nobody', secretAccessKey: 'nobody' };

/**
 * A client of that account for the server of a test file, made when it is first used (the server has
 * been started by then) and destroyed after the last test.
 */
export function useClient(
  server: { readonly endpoint: string },
  account: Pick<ConfiguredAccount, 'accessKey' | 'secretKey'> | undefined,
): S3 {
  let client: S3 | undefined;
  after(() => client?.destroy());
  return new Proxy({} as S3, {
    get(_, name) {
      client ??= clientOf(server.endpoint, account);
      const member: unknown = Reflect.get(client, name);
      return typeof member === 'function' ? (member.bind(client) as unknown) : member;
    },
  });
}

/** The ARN of an account, for policies. */
export const arnOf = ({ number }: { number: string }): string => `arn:aws:iam::${number}:root`;
