/** Every setting of Ashlar, in one schema: a sentence each, and where the defaults are decided. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import {
  byteSize,
  CONFIG_FILE_VARIABLE,
  ConfigError,
  duration,
  type Loaded,
  loadConfig,
} from '../base/config.ts';
import { LOG_LEVELS } from '../base/log.ts';
import { eventTargetSchema } from './event-settings.ts';
import { parseKeyText } from '../base/derive-key.ts';
import { NEW_BUCKETS } from '../gateway/config.ts';
import { readIfThere } from './files.ts';
import { replicaTargetSchema } from './replication-settings.ts';

const MIB = 1024 ** 2;

const secret = (description: string, schema: z.ZodType<string>) =>
  schema.optional().meta({ description, secret: true });

/** Keys of 32 bytes: a list, or text with commas or line breaks between them, as in a file. */
const keyList = (description: string, isOne: (text: string) => boolean, error: string) =>
  z
    .preprocess(
      (value) => (typeof value === 'string' ? value.split(/[\s,]+/).filter((one) => one) : value),
      z.array(z.string().refine(isOne, { error })),
    )
    .default([])
    .meta({ description, secret: true });

const isKey = (text: string): boolean => parseKeyText(text) !== undefined;
const isNamedKey = (text: string): boolean =>
  /^[\w./:-]{1,256}=/.test(text) && isKey(text.replace(/^[^=]*=/, ''));

const SECRET_LENGTH = { error: 'expected 16 to 256 characters' };

/** An account of the configuration. Problems are told without what was given. */
const configuredAccount = z.strictObject({
  name: z.string().min(1).max(128),
  accessKey: z
    .string()
    .regex(/^[\w.-]{3,128}$/, 'expected 3 to 128 letters, digits, `_`, `.` or `-`'),
  secretKey: z.string().min(8, 'expected 8 to 256 characters').max(256),
  id: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hex digits')
    .optional(),
  number: z
    .string()
    .regex(/^[0-9]{12}$/, 'expected 12 digits')
    .optional(),
  email: z.string().includes('@').max(254).optional(),
});

export const settingsSchema = z.strictObject({
  data: z.string().min(1).optional().describe('Folder that holds everything Ashlar keeps.'),
  buckets: z.array(z.string()).default([]).describe('Buckets to create at start.'),
  gateways: z
    .number()
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('Gateway processes of `ashlar start`; one per core by default.'),
  disks: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'Folders of the storage nodes of `ashlar start`, ideally one disk each; three or more.',
    ),
  shutdownBound: duration()
    .default(10_000)
    .describe('Longest time for running requests to finish when a process stops.'),
  root: z.strictObject({
    accessKey: secret(
      'Access key of the root account; generated once when it is not given.',
      z.string().regex(/^[\w.-]{3,128}$/, 'expected 3 to 128 letters, digits, `_`, `.` or `-`'),
    ),
    secretKey: secret(
      'Secret key of the root account; generated once when it is not given.',
      z
        .string()
        .min(8, { error: 'expected 8 to 256 characters' })
        .max(256, { error: 'expected 8 to 256 characters' }),
    ),
  }),
  cluster: z.strictObject({
    secret: secret(
      "Secret with which the cluster's processes know each other, 16 characters or more.",
      z.string().min(16, SECRET_LENGTH).max(256, SECRET_LENGTH),
    ),
  }),
  s3: z.strictObject({
    listen: z.string().default('127.0.0.1:9000').describe('Address of the S3 endpoint, host:port.'),
    accounts: z.array(configuredAccount).default([]).meta({
      description:
        'Accounts beside root, the same on every gateway: a list of name, accessKey, secretKey and, where they matter, id, number and email.',
      secret: true,
    }),
    newBuckets: z
      .enum(NEW_BUCKETS)
      .default('aws')
      .describe(
        'New buckets as AWS makes them, with ACLs off and public access blocked (aws), or with ACLs that count and nothing blocked (open).',
      ),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,32}$/, 'expected a name such as us-east-1')
      .default('us-east-1')
      .describe('Region that the endpoint claims.'),
    domains: z
      .array(z.string())
      .default([])
      .describe('Domains under which buckets are host names (virtual-host style).'),
    websiteDomains: z
      .array(z.string())
      .default([])
      .describe('Domains under which buckets are websites: `bucket.domain` shows its pages.'),
    signatureV2: z
      .boolean()
      .default(false)
      .describe(
        'Accept Signature Version 2 (headers, presigned URLs, forms) beside Version 4, for old clients.',
      ),
    insecureCustomerKeys: z
      .enum(['never', 'loopback', 'always'])
      .default('loopback')
      .describe(
        "From where requests without TLS may carry a client's own encryption key (SSE-C); `always` behind a proxy that does TLS.",
      ),
    sharePort: z
      .boolean()
      .default(false)
      .describe(
        'Share the port with other gateway processes of this machine; `ashlar start` sets it.',
      ),
  }),
  website: z.strictObject({
    listen: z
      .string()
      .default('off')
      .describe(
        'Address for websites only, host:port, where any host is a bucket: `www.example.com`; `off` for none.',
      ),
  }),
  admin: z.strictObject({
    listen: z
      .string()
      .default('127.0.0.1:9001')
      .describe('Address of the admin endpoint (health, metrics), host:port; `off` for none.'),
  }),
  meta: z.strictObject({
    listen: z
      .string()
      .default('127.0.0.1:9010')
      .describe('Address on which the metadata service listens.'),
    address: z
      .string()
      .default('127.0.0.1:9010')
      .describe('Address at which gateways and nodes find the metadata service.'),
    data: z.string().min(1).optional().describe('Folder of the metadata store.'),
    mapSize: byteSize()
      .default(1024 ** 4)
      .describe('Largest size of the metadata store; the file stays as small as its content.'),
    expectedNodes: z
      .number()
      .int()
      .min(3)
      .max(1000)
      .default(3)
      .describe('The first placement map is made when this many storage nodes have registered.'),
    journal: z
      .enum(['sync', 'async', 'off'])
      .default('sync')
      .describe(
        'Metadata on two storage nodes before it is acknowledged (sync), soon after (async), or never (off).',
      ),
    snapshotEvery: duration()
      .default(3_600_000)
      .describe('Longest time between two snapshots of the metadata while it changes.'),
    scrubEvery: duration()
      .default(7 * 86_400_000)
      .describe('In which every replica of every block is read and verified once.'),
    orphansEvery: duration()
      .default(3_600_000)
      .describe('How often blocks that no object refers to are looked for on the storage nodes.'),
    repairRate: byteSize()
      .default(64 * MIB)
      .describe(
        'Bytes per second that repair copies, unless an operator sets a rate; 0: no limit.',
      ),
    lifecycleDay: duration()
      .default(86_400_000)
      .describe(
        'Length of a day of lifecycle rules. Only for tests: with less than a day objects go much too early.',
      ),
    eventBacklog: z
      .number()
      .int()
      .min(1)
      .default(100_000)
      .describe(
        'Events of one bucket that wait for delivery, at most; more are dropped and counted.',
      ),
    nodeOutAfter: duration()
      .default(600_000)
      .describe('Silence after which the replicas of a storage node are made again elsewhere.'),
  }),
  node: z.strictObject({
    id: z
      .string()
      .regex(/^[\w.-]{1,64}$/, 'expected 1 to 64 letters, digits, `_`, `.` or `-`')
      .default('node-1')
      .describe('Name of the storage node, unique in the cluster and kept in its folder.'),
    listen: z.string().default('127.0.0.1:9020').describe('Address on which the node listens.'),
    advertise: z
      .string()
      .optional()
      .describe('Address at which gateways reach the node; the listening address by default.'),
    zone: z
      .string()
      .regex(/^[\w.-]{1,64}$/, 'expected 1 to 64 letters, digits, `_`, `.` or `-`')
      .optional()
      .describe("Failure domain of the node (disk, host, rack, site); the node's id by default."),
    data: z.string().min(1).optional().describe('Folder of the node, on the disk it should use.'),
    mapSize: byteSize()
      .default(16 * 1024 ** 4)
      .describe("Largest size of the node's store; the file stays as small as its content."),
    freeFloor: byteSize()
      .optional()
      .describe(
        'Free space below which the node takes no more blocks; 1 GiB or 1 % of the disk by default, whichever is more, but at most 10 %.',
      ),
    watchdog: duration()
      .default(10_000)
      .describe(
        'A write that takes longer than this ends the node, which then verifies its store.',
      ),
  }),
  replication: z.strictObject({
    policy: z
      .enum(['degraded', 'strict'])
      .default('degraded')
      .describe(
        'What a write does when only two of three nodes can take it: accept and repair, or refuse.',
      ),
    blockSize: byteSize()
      .refine((size) => size >= 4096 && size <= 4 * MIB, 'expected 4KiB to 4MiB')
      .default(MIB)
      .describe('Size of the blocks that new objects are cut into.'),
    targets: z
      .array(replicaTargetSchema)
      .default([])
      .describe('S3 endpoints to which buckets can be replicated, each by a name.'),
  }),
  events: z.strictObject({
    targets: z
      .array(eventTargetSchema)
      .default([])
      .describe('Where bucket notifications can go: webhooks, NATS, Redis, Kafka, each by a name.'),
    keep: duration()
      .default(3 * 86_400_000)
      .describe('After which an event that its target has not taken is given up.'),
  }),
  encryption: z.strictObject({
    default: z
      .enum(['off', 'AES256'])
      .default('off')
      .describe(
        'How objects are encrypted in buckets that have no default encryption of their own.',
      ),
    masterKeys: keyList(
      'Master keys of SSE-S3, base64 or hex of 32 bytes each: the first one encrypts, all of them decrypt. `ashlar start` makes one.',
      isKey,
      'expected base64 or hex of 32 bytes',
    ),
    kms: z.strictObject({
      keys: keyList(
        'Keys of SSE-KMS by name, `name=key` each, base64 or hex of 32 bytes.',
        isNamedKey,
        'expected a name, `=` and base64 or hex of 32 bytes',
      ),
      defaultKey: z
        .string()
        .min(1)
        .optional()
        .describe('The KMS key of requests that ask for SSE-KMS and name none.'),
      vault: z.strictObject({
        address: z
          .string()
          .regex(/^https?:\/\/[^\s/]+\/?$/, 'expected a URL such as https://vault.example.com:8200')
          .optional()
          .describe('Vault whose transit keys are KMS keys, beside those of the configuration.'),
        mount: z
          .string()
          .regex(/^[\w.-]+(\/[\w.-]+)*$/, 'expected a path such as transit')
          .default('transit')
          .describe('Where the transit engine is mounted.'),
        namespace: z.string().optional().describe('Namespace of Vault Enterprise.'),
        tokenPath: z
          .string()
          .min(1)
          .optional()
          .describe(
            'File with the Vault token; read again for every call, so an agent may renew it.',
          ),
      }),
    }),
  }),
  accessLog: z.strictObject({
    flush: duration()
      .default(300_000)
      .describe('Longest time that lines of access logs of buckets wait in memory.'),
  }),
  limits: z.strictObject({
    bufferedBytes: byteSize()
      .default(128 * MIB)
      .describe('Memory that one gateway process spends on blocks in flight.'),
  }),
  log: z.strictObject({
    level: z.enum(LOG_LEVELS).default('info').describe('What is logged: this level and above.'),
  }),
});

export type Settings = z.output<typeof settingsSchema>;

/** Reads the settings; `configFile` is what `--config` named. Throws ConfigError. */
export function loadSettings(
  flags: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string | undefined>>,
  configFile: string | undefined,
): Loaded<Settings> {
  const name = configFile ?? env[CONFIG_FILE_VARIABLE];
  const text = name === undefined ? undefined : readIfThere(name);
  if (name !== undefined && text === undefined) {
    throw new ConfigError([`The configuration file ${name} does not exist.`]);
  }
  return loadConfig(settingsSchema, {
    flags,
    env,
    file: name === undefined || text === undefined ? undefined : { name, text },
  });
}

/** Where data goes when nobody says: the user's data folder by the XDG convention. */
export function defaultDataFolder(env: Readonly<Record<string, string | undefined>>): string {
  return join(env['XDG_DATA_HOME'] ?? join(homedir(), '.local', 'share'), 'ashlar');
}

/** Splits `host:port`, `[v6]:port` or `:port`; throws ConfigError naming `setting`. */
export function parseListen(text: string, setting: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new ConfigError([
      `${setting}: expected host:port such as 127.0.0.1:9000 (got "${text}").`,
    ]);
  }
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}
