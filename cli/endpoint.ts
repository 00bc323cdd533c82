/** What `ashlar start` leaves in its data folder for other commands: where the endpoint is. */
import { join } from 'node:path';
import { ConfigError } from '../base/config.ts';
import type { Random } from '../base/clock.ts';
import { CREDENTIALS_FILE } from './credentials.ts';
import { readIfThere, writeWhole } from './files.ts';
import type { Endpoint } from './profile.ts';
import type { Settings } from './settings.ts';

const ENDPOINT_FILE = 'endpoint.json';

/** What other commands may know of a folder's Ashlar, without its secrets. */
export interface LocalEndpoint {
  /** URL of the S3 endpoint. */
  url: string;
  region: string;
  /** Address of the metadata service; none when everything runs in one process. */
  meta?: string | undefined;
  /** URL of the admin endpoint (health, metrics) of each gateway. */
  admins?: string[] | undefined;
}

export function writeEndpoint(folder: string, endpoint: LocalEndpoint, random: Random): void {
  writeWhole(join(folder, ENDPOINT_FILE), `${JSON.stringify(endpoint, null, 2)}\n`, random);
}

/** What was written last, or undefined when nothing was ever started there. */
export function readLocalEndpoint(folder: string): LocalEndpoint | undefined {
  const stored = readIfThere(join(folder, ENDPOINT_FILE));
  return stored === undefined ? undefined : (JSON.parse(stored) as LocalEndpoint);
}

/** The endpoint of `folder` with its keys: from the environment, else from the folder. */
export function readEndpoint(folder: string, settings: Settings): Endpoint {
  const { url, region } = readLocalEndpoint(folder) ?? {
    url: `http://${settings.s3.listen}`,
    region: settings.s3.region,
  };
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
