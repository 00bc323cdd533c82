/** The settings of event targets: a list, each with a type. Secrets are in files. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError, duration } from '../base/config.ts';
import type { GatewayConfig } from '../gateway/config.ts';

const common = {
  name: z.string().regex(/^[\w.-]{1,64}$/, 'expected 1 to 64 letters, digits, `_`, `.` or `-`'),
  timeout: duration().default(5000),
  accounts: z.array(z.string()).optional(),
};
const login = { user: z.string().optional(), passwordFile: z.string().optional() };

export const eventTargetSchema = z.discriminatedUnion('type', [
  z.strictObject({
    ...common,
    type: z.literal('webhook'),
    url: z.string().regex(/^https?:\/\/\S+$/, 'expected an http:// or https:// URL'),
    tokenFile: z.string().optional(),
  }),
  z.strictObject({
    ...common,
    ...login,
    type: z.literal('nats'),
    servers: z.array(z.string()).min(1),
    subject: z.string().min(1),
    tokenFile: z.string().optional(),
    jetstream: z.boolean().optional(),
  }),
  z.strictObject({
    ...common,
    ...login,
    type: z.literal('redis'),
    url: z.string().regex(/^rediss?:\/\/\S+$/, 'expected a redis:// or rediss:// URL'),
    key: z.string().min(1),
    mode: z.enum(['list', 'channel']).default('list'),
  }),
  z.strictObject({
    ...common,
    ...login,
    type: z.literal('kafka'),
    brokers: z.array(z.string().regex(/^.+:\d+$/, 'expected host:port')).min(1),
    topic: z.string().min(1),
  }),
]);

type EventTargetSetting = z.output<typeof eventTargetSchema>;
type Targets = NonNullable<GatewayConfig['events']>['targets'];

/** The targets with their secrets read from their files. Throws ConfigError. */
export function eventTargets(settings: readonly EventTargetSetting[]): Targets {
  return settings.map((setting) => {
    const { timeout: timeoutMs, ...target } = setting;
    const found: Record<string, string> = {};
    for (const name of ['token', 'password'] as const) {
      const file = (setting as Record<string, unknown>)[`${name}File`];
      if (typeof file === 'string') found[name] = readSecretFile(file, setting.name);
    }
    return { ...target, ...found, timeoutMs };
  });
}

/** Throws ConfigError that names the setting's owner. */
export function readSecretFile(file: string, owner: string): string {
  try {
    return readFileSync(file, 'utf8').trimEnd();
  } catch {
    throw new ConfigError([
      `${owner}: the file ${file} cannot be read. Create it, or correct the name.`,
    ]);
  }
}
