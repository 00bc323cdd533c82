/** What `ashlar start` leaves in its data folder for other commands: where the endpoint is. */
import { join } from 'node:path';
import { ConfigError } from '../base/config.ts';
import type { Random } from '../base/clock.ts';
import { CREDENTIALS_FILE } from './credentials.ts';
import { readIfThere, writeWhole } from './files.ts';
import type { Endpoint } from './profile.ts';
import type { Settings } from './settings.ts';

const ENDPOINT_FILE = 'endpoint.json';

export function writeEndpoint(
  folder: string,
  endpoint: { url: string; region: string },
  random: Random,
): void {
  writeWhole(join(folder, ENDPOINT_FILE), `${JSON.stringify(endpoint, null, 2)}\n`, random);
}

/** The endpoint of `folder` with its keys: from the environment, else from the folder. */
export function readEndpoint(folder: string, settings: Settings): Endpoint {
  const stored = readIfThere(join(folder, ENDPOINT_FILE));
  const { url, region } =
    stored === undefined
      ? { url: `http://${settings.s3.listen}`, region: settings.s3.region }
      : (JSON.parse(stored) as { url: string; region: string });
  const { accessKey, secretKey } = settings.root;
  if (accessKey !== undefined && secretKey !== undefined)
    return { url, region, accessKey, secretKey };
  const credentials = readIfThere(join(folder, CREDENTIALS_FILE));
  if (credentials === undefined) {
    throw new ConfigError([
      `There are no credentials in ${folder}. Start Ashlar there once (ashlar start --data ${folder}), or set ASHLAR_ROOT_ACCESS_KEY and ASHLAR_ROOT_SECRET_KEY.`,
    ]);
  }
  return { url, region, ...(JSON.parse(credentials) as { accessKey: string; secretKey: string }) };
}
