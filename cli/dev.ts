/** `ashlar dev`: a throw-away endpoint in one process. */
import { resolve } from 'node:path';
import { systemEffects } from '../base/clock.ts';
import { type Loaded, processEnvironment } from '../base/config.ts';
import { stopOnSignals } from '../base/lifecycle.ts';
import { createLog } from '../base/log.ts';
import { banner } from './banner.ts';
import {
  CREDENTIALS_FILE,
  folderCredentials,
  folderMasterKeys,
  generateCredentials,
} from './credentials.ts';
import { startEmbedded } from './embedded.ts';
import { writeEndpoint } from './endpoint.ts';
import { writeReadyFile } from './ready-file.ts';
import { gatewayConfig } from './gateway-settings.ts';
import type { Settings } from './settings.ts';
import { commandName, terminalLogLevel } from './terminal.ts';
import { VERSION } from './version.ts';

const effects = systemEffects;

/** Runs until a signal ends it. */
export async function runDev(
  loaded: Loaded<Settings>,
  readyFile: string | undefined,
): Promise<void> {
  const settings = loaded.value;
  const folder = settings.data === undefined ? undefined : resolve(settings.data);
  const terminal = process.stdout.isTTY === true;
  const log = createLog({ level: terminalLogLevel(loaded), fields: { role: 'dev' } });
  const { accessKey, secretKey } = settings.root;
  const given = accessKey !== undefined && secretKey !== undefined;
  const root = given
    ? { accessKey, secretKey }
    : folder === undefined
      ? generateCredentials(effects.random)
      : folderCredentials(folder, effects.random).credentials;
  const { masterKeys: givenKeys } = settings.encryption;
  const masterKeys =
    givenKeys.length > 0
      ? givenKeys
      : folder === undefined
        ? [effects.random.bytes(32).toString('base64')]
        : folderMasterKeys(folder, effects.random);
  const encryption = { ...settings.encryption, masterKeys };
  const starting = startEmbedded(gatewayConfig({ ...settings, root, encryption }, 'dev'), {
    folder,
    effects,
    log,
  });
  stopOnSignals({
    process,
    clock: effects.clock,
    log,
    boundMs: settings.shutdownBound + 5_000,
    stop: async () => await (await starting).stop(),
  });
  const running = await starting;
  const { s3, admin } = running;
  const website = running.website || undefined;
  if (folder !== undefined) {
    writeEndpoint(folder, { url: s3, region: settings.s3.region }, effects.random);
  }
  if (readyFile !== undefined) {
    const processes = [{ role: 'gateway' as const, name: 'dev', pid: process.pid }];
    const admins = admin === '' ? [] : [admin];
    writeReadyFile(readyFile, { s3, website, admin, admins, processes }, effects.random);
  }
  if (!terminal) {
    log.info({ s3, admin, accessKey: root.accessKey }, 'serving');
    return;
  }
  console.log(
    banner({
      version: VERSION,
      mode: 'dev',
      s3,
      website,
      admin,
      region: settings.s3.region,
      accessKey: root.accessKey,
      secretKey: given ? undefined : root.secretKey,
      secretHint: folder === undefined ? 'as configured' : `${folder}/${CREDENTIALS_FILE}`,
      buckets: settings.buckets,
      data: folder ?? 'a temporary folder',
      dataIsTemporary: folder === undefined,
      status: await running.meta.status(),
      command: commandName(processEnvironment()),
      profileCommand: undefined,
    }),
  );
}
