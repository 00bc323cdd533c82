/**
 * How the verbs for operators find the metadata service: `--data DIR` names the folder of an
 * `ashlar start` (its cluster.key and endpoint.json), else ASHLAR_META_ADDRESS with the cluster's
 * secret, else the folder that `ashlar start` uses when nobody says.
 */
import { join } from 'node:path';
import { holdProcess, systemEffects } from '../../base/clock.ts';
import { type Loaded, processEnvironment } from '../../base/config.ts';
import { isFailure } from '../../base/failure.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { silentLog } from '../../base/log.ts';
import { createRpcChannel } from '../../base/rpc/client.ts';
import { createMetaAdminClient, META_RPC_LIMITS } from '../../meta/admin-client.ts';
import type { MetaAdmin } from '../../meta/admin-protocol.ts';
import { createMetaClient } from '../../meta/client.ts';
import type { Meta } from '../../meta/protocol.ts';
import { CLUSTER_SECRET_FILE } from '../credentials.ts';
import { type LocalEndpoint, readLocalEndpoint } from '../endpoint.ts';
import { readIfThere } from '../files.ts';
import { defaultDataFolder, type Settings } from '../settings.ts';
import { commandName } from '../terminal.ts';
import { VerbError } from './exit.ts';

interface Target {
  address: string;
  secret: string;
  /** What the folder says, when it was found through one. */
  local: LocalEndpoint | undefined;
  /** What to do when nobody answers. */
  hint: string;
}

export interface Operator {
  admin: MetaAdmin;
  meta: Meta;
  local: LocalEndpoint | undefined;
  /** For every call. */
  call: { timeoutMs: number };
}

/** Runs `work` with a connection; what cannot be reached ends with 69 and a sentence. */
export async function operate(
  loaded: Loaded<Settings>,
  timeoutMs: number,
  work: (operator: Operator) => Promise<void>,
): Promise<void> {
  const target = findTarget(loaded);
  const channel = createRpcChannel({
    address: target.address,
    secret: target.secret,
    limits: META_RPC_LIMITS,
    effects: systemEffects,
    log: silentLog,
    connectTimeoutMs: Math.min(timeoutMs, 3000),
  });
  const hold = holdProcess();
  try {
    const admin = createMetaAdminClient(channel);
    const meta = createMetaClient(channel);
    await work({ admin, meta, local: target.local, call: { timeoutMs } });
  } catch (error) {
    throw explained(error, target);
  } finally {
    hold.cancel();
    await channel.close();
  }
}

function findTarget(loaded: Loaded<Settings>): Target {
  const { value: settings, sources } = loaded;
  const given = (path: string): string => sources.get(path) ?? 'default';
  const byFlag = given('data').startsWith('flag') && !given('meta.address').startsWith('flag');
  if (given('meta.address') !== 'default' && !byFlag) {
    const { secret } = settings.cluster;
    if (secret === undefined) {
      throw new VerbError(
        'The cluster secret is not set: name its file with ASHLAR_CLUSTER_SECRET_FILE.',
        EXIT.usage,
      );
    }
    const { address } = settings.meta;
    const hint = 'Is `ashlar meta` running there?';
    return { address, secret, local: undefined, hint };
  }
  const environment = processEnvironment();
  const folder = settings.data ?? defaultDataFolder(environment);
  const start = `${commandName(environment)} start${settings.data === undefined ? '' : ` --data ${folder}`}`;
  const local = readLocalEndpoint(folder);
  const secret = settings.cluster.secret ?? readIfThere(join(folder, CLUSTER_SECRET_FILE))?.trim();
  if (local?.meta === undefined || secret === undefined) {
    throw new VerbError(
      `No Ashlar has been started in ${folder}. Start it (${start}), name its folder with --data, or its metadata service with ASHLAR_META_ADDRESS and ASHLAR_CLUSTER_SECRET_FILE.`,
      EXIT.unavailable,
    );
  }
  return { address: local.meta, secret, local, hint: `Start it with: ${start}` };
}

function explained(error: unknown, { address, hint }: Target): unknown {
  if (isFailure(error, 'unavailable', 'timeout', 'unknown-outcome')) {
    return new VerbError(
      `The metadata service at ${address} does not answer (${error.message}). ${hint}`,
      EXIT.unavailable,
    );
  }
  if (isFailure(error, 'unauthenticated')) {
    return new VerbError(
      `The metadata service at ${address} does not accept the cluster secret: use the one that it was started with.`,
    );
  }
  if (isFailure(error)) return new VerbError(sentence(error.message));
  return error;
}

const sentence = (text: string): string =>
  text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
