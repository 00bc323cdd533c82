/**
 * An S3 server inside a test suite:
 *
 *     import { startAshlar } from 'ashlar/testing';
 *     const server = await startAshlar({ buckets: ['photos'] });
 *     const s3 = await server.client();          // an S3Client of @aws-sdk/client-s3
 *     …
 *     await server.stop();
 *
 * The same code as in production, in one process, with its data in a temporary folder that `stop`
 * removes. Several servers can run at once.
 */
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { systemEffects } from '../base/clock.ts';
import { createLog, type LogLevel } from '../base/log.ts';
import { folderMasterKeys, generateCredentials } from './credentials.ts';
import type { NewBuckets } from '../gateway/config.ts';
import { startEmbedded } from './embedded.ts';
import { VERSION } from './version.ts';

export interface AshlarOptions {
  /** Created before it is ready. */
  buckets?: readonly string[];
  /** Any free port by default. */
  port?: number;
  region?: string;
  /** A random pair by default. */
  credentials?: { accessKeyId: string; secretAccessKey: string };
  /** Accounts beside that of `credentials`, which may do everything. */
  accounts?: readonly TestingAccount[];
  /** New buckets with ACLs off and public access blocked, or open as they were; `aws` by default. */
  newBuckets?: NewBuckets;
  /** Domains for virtual-host addressing. */
  domains?: readonly string[];
  /** Accept Signature Version 2 as well; false by default. */
  signatureV2?: boolean;
  /** Domains under which buckets are websites, on the same port. */
  websiteDomains?: readonly string[];
  /** Keys of SSE-KMS by name; base64 of 32 bytes each. SSE-S3 works without. */
  kmsKeys?: Readonly<Record<string, string>>;
  /** Length of a day of lifecycle rules, in milliseconds: at least 1,000; a day by default. */
  lifecycleDayMs?: number;
  /** Folder for the data, kept after `stop`; a temporary one by default. */
  data?: string;
  /** `silent` by default. */
  logLevel?: LogLevel;
}

export interface TestingAccount {
  name: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Canonical id, 64 hex digits; made of the name by default. */
  id?: string;
  /** 12 digits; made of the id by default. */
  number?: string;
  email?: string;
}

export interface AshlarServer {
  /** `http://127.0.0.1:PORT`. */
  endpoint: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
  /** A client of the AWS SDK. The caller destroys it. */
  client(config?: S3ClientConfig): Promise<S3Client>;
  stop(): Promise<void>;
}

/** Resolves when requests are served. */
export async function startAshlar(options: AshlarOptions = {}): Promise<AshlarServer> {
  const region = options.region ?? 'us-east-1';
  const generated = generateCredentials(systemEffects.random);
  const credentials = options.credentials ?? {
    accessKeyId: generated.accessKey,
    secretAccessKey: generated.secretKey,
  };
  const running = await startEmbedded(
    {
      name: 'testing',
      version: VERSION,
      s3: {
        host: '127.0.0.1',
        port: options.port ?? 0,
        sharePort: false,
        region,
        domains: options.domains ?? [],
        signatureV2: options.signatureV2,
      },
      websites: { domains: options.websiteDomains ?? [], listen: undefined },
      admin: undefined,
      root: { accessKey: credentials.accessKeyId, secretKey: credentials.secretAccessKey },
      encryption: {
        default: 'off',
        masterKeys:
          options.data === undefined
            ? [systemEffects.random.bytes(32).toString('base64')]
            : folderMasterKeys(options.data, systemEffects.random),
        kms: { keys: Object.entries(options.kmsKeys ?? {}).map(([name, key]) => `${name}=${key}`) },
      },
      accounts: options.accounts?.map(({ name, accessKeyId, secretAccessKey, ...ids }) => ({
        displayName: name,
        accessKey: accessKeyId,
        secretKey: secretAccessKey,
        ...ids,
      })),
      newBuckets: options.newBuckets,
      buckets: options.buckets ?? [],
      objects: {},
      drainMs: 1000,
    },
    {
      folder: options.data,
      lifecycleDayMs: options.lifecycleDayMs,
      effects: systemEffects,
      log: createLog({ level: options.logLevel ?? 'silent' }),
    },
  );
  return {
    endpoint: running.s3,
    region,
    credentials,
    async client(config = {}) {
      const sdk = await import('@aws-sdk/client-s3');
      return new sdk.S3Client({
        endpoint: running.s3,
        region,
        forcePathStyle: true,
        credentials,
        ...config,
      });
    },
    stop: () => running.stop(),
  };
}
