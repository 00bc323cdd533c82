/**
 * Everything that the server and the suite must agree on, in one place: accounts, keys, the length of
 * a day. The suite compares ids and names with what the server answers, so both are fixed here.
 */
import { createHash } from 'node:crypto';

interface SuiteAccount {
  id: string;
  displayName: string;
  email: string;
  accessKey: string;
  secretKey: string;
}

const idOf = (name: string): string =>
  createHash('sha256').update(`conformance ${name}`).digest('hex');

function account(name: string): SuiteAccount {
  return {
    id: idOf(name),
    displayName: name,
    email: `${name}@example.com`,
    accessKey: `CONFORMANCE${name.toUpperCase()}KEY`.padEnd(20, 'X').slice(0, 20),
    secretKey: createHash('sha256').update(`secret of ${name}`).digest('hex').slice(0, 40),
  };
}

/** Length of a day of lifecycle rules in seconds: the suite sleeps in multiples of it. */
const DAY_SECONDS = 4;

const ACCOUNTS = { main: account('main'), alt: account('alt'), tenant: account('tenant') };

/** Names of KMS keys that the suite has written down in places. */
const KMS_KEYS = ['testkey-1', 'testkey-2'] as const;

const keyText = (name: string): string =>
  createHash('sha256').update(`key ${name}`).digest('base64');

/** What the server is started with, beside ports and folders. */
export function serverSettings(): Record<string, unknown> {
  return {
    s3: {
      signatureV2: true,
      // The suite is of the time before ACLs were off and public access blocked.
      newBuckets: 'open',
      accounts: Object.values(ACCOUNTS).map(({ displayName: name, ...rest }) => ({
        name,
        ...rest,
      })),
    },
    meta: { lifecycleDay: `${DAY_SECONDS}s` },
    encryption: { kms: { keys: KMS_KEYS.map((name) => `${name}=${keyText(name)}`) } },
  };
}

/** The suite's configuration file. Sections for parts of it that are not run have values all the same. */
export function suiteConfiguration(endpoint: { host: string; port: number }): string {
  const { main, alt, tenant } = ACCOUNTS;
  const unused = account('unused');
  return `${[
    ['DEFAULT', { host: endpoint.host, port: endpoint.port, is_secure: 'False' }] as const,
    ['fixtures', { 'bucket prefix': 'ashlar-{random}-' }] as const,
    [
      's3 main',
      {
        ...section(main),
        kms_keyid: KMS_KEYS[0],
        kms_keyid2: KMS_KEYS[1],
        lc_debug_interval: DAY_SECONDS,
      },
    ] as const,
    ['s3 alt', section(alt)] as const,
    ['s3 tenant', { ...section(tenant), tenant: 'tenant' }] as const,
    ['iam', section(unused)] as const,
    ['iam root', section(unused)] as const,
    ['iam alt root', section(unused)] as const,
  ]
    .map(
      ([name, values]) =>
        `[${name}]\n${Object.entries(values)
          .map(([key, value]) => `${key} = ${value}`)
          .join('\n')}`,
    )
    .join('\n\n')}\n`;
}

function section(one: SuiteAccount): Record<string, string> {
  return {
    user_id: one.id,
    display_name: one.displayName,
    email: one.email,
    access_key: one.accessKey,
    secret_key: one.secretKey,
  };
}
