/** The settings of replication targets: endpoints of S3, with credentials in files. */
import { z } from 'zod';
import { duration } from '../base/config.ts';
import type { GatewayConfig } from '../gateway/config.ts';
import { readSecretFile } from './event-settings.ts';

export const replicaTargetSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]{1,64}$/, 'expected 1 to 64 letters, digits, `_`, `.` or `-`'),
  endpoint: z.string().regex(/^https?:\/\/\S+$/, 'expected an http:// or https:// URL'),
  region: z.string().default('us-east-1'),
  accessKey: z.string().min(1),
  secretKeyFile: z.string().min(1),
  account: z.string().optional(),
  accounts: z.array(z.string()).optional(),
  buckets: z.array(z.string()).optional(),
  virtualHost: z.boolean().default(false),
  markReplicas: z.boolean().default(true),
  timeout: duration().default(30_000),
});

type ReplicaTargetSetting = z.output<typeof replicaTargetSchema>;

/** The targets with their secret keys. Throws ConfigError for a file that cannot be read. */
export function replicaTargets(
  settings: readonly ReplicaTargetSetting[],
): NonNullable<GatewayConfig['replicaTargets']> {
  return settings.map(({ secretKeyFile, timeout: timeoutMs, ...target }) => ({
    ...target,
    secretKey: readSecretFile(secretKeyFile, target.name),
    timeoutMs,
  }));
}
