import { readFileSync } from 'node:fs';
import { ConfigError } from '../base/config.ts';
import type { EncryptionConfig, GatewayConfig } from '../gateway/config.ts';
import { eventTargets } from './event-settings.ts';
import { replicaTargets } from './replication-settings.ts';
import { parseListen, type Settings } from './settings.ts';
import { VERSION } from './version.ts';

/** The keys of a process, and what it encrypts by default. Throws ConfigError. */
export function encryptionConfig({ encryption }: Settings): EncryptionConfig {
  const { masterKeys, kms } = encryption;
  const { vault, keys, defaultKey } = kms;
  if (encryption.default !== 'off' && masterKeys.length === 0) {
    throw new ConfigError([
      'encryption.default is AES256, but there is no master key: set ASHLAR_ENCRYPTION_MASTER_KEYS_FILE (to make one: openssl rand -base64 32), the same on every gateway.',
    ]);
  }
  const { address, tokenPath, mount, namespace } = vault;
  if ((address === undefined) !== (tokenPath === undefined)) {
    throw new ConfigError(['Vault needs both encryption.kms.vault.address and tokenPath.']);
  }
  const remote = address !== undefined &&
    tokenPath !== undefined && { address, mount, namespace, token: () => readToken(tokenPath) };
  return {
    default: encryption.default,
    masterKeys,
    kms: { keys, defaultKey, ...(remote && { vault: remote }) },
  };
}

function readToken(path: string): string {
  return readFileSync(path, 'utf8').trim();
}

/** The gateway's settings, from everybody's. */
export function gatewayConfig(settings: Settings, name: string): GatewayConfig {
  const { s3, website, admin, root, replication, limits } = settings;
  const { accessKey, secretKey } = root;
  if (accessKey === undefined || secretKey === undefined) {
    throw new ConfigError([
      'The root credentials are not set: a gateway needs ASHLAR_ROOT_ACCESS_KEY and ASHLAR_ROOT_SECRET_KEY (or ASHLAR_ROOT_SECRET_KEY_FILE), the same on every gateway.',
    ]);
  }
  return {
    name,
    version: VERSION,
    s3: {
      ...parseListen(s3.listen, 's3.listen'),
      sharePort: s3.sharePort,
      region: s3.region,
      domains: s3.domains,
      signatureV2: s3.signatureV2,
      insecureCustomerKeys: s3.insecureCustomerKeys,
    },
    websites: {
      domains: s3.websiteDomains,
      listen: website.listen === 'off' ? undefined : parseListen(website.listen, 'website.listen'),
    },
    admin: admin.listen === 'off' ? undefined : parseListen(admin.listen, 'admin.listen'),
    root: { accessKey, secretKey },
    accounts: s3.accounts.map(({ name: displayName, ...account }) => ({ displayName, ...account })),
    newBuckets: s3.newBuckets,
    encryption: encryptionConfig(settings),
    buckets: settings.buckets,
    objects: {
      blockSize: replication.blockSize,
      writePolicy: replication.policy,
      writeMemoryBytes: limits.bufferedBytes,
      readMemoryBytes: limits.bufferedBytes,
    },
    replicaTargets: replicaTargets(replication.targets),
    accessLogFlushMs: settings.accessLog.flush,
    events: { targets: eventTargets(settings.events.targets), keepMs: settings.events.keep },
    drainMs: settings.shutdownBound,
  };
}
