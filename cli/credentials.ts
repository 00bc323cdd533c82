/**
 * The secrets of a data folder: the root credentials of the S3 endpoint, the secret with which the
 * cluster's processes know each other, and the master keys of encrypted objects. Each is made once at
 * random and kept 0600.
 */
import { join } from 'node:path';
import type { Random } from '../base/clock.ts';
import { readIfThere, writeWhole } from './files.ts';

export interface RootCredentials {
  accessKey: string;
  secretKey: string;
}

export const CREDENTIALS_FILE = 'credentials.json';
export const MASTER_KEYS_FILE = 'master.keys';
export const CLUSTER_SECRET_FILE = 'cluster.key';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

function randomText(random: Random, length: number): string {
  return Array.from(random.bytes(length), (byte) => ALPHABET[byte % 32]).join('');
}

/** A fresh pair in the shape of AWS's: 20 and 40 characters. */
export function generateCredentials(random: Random): RootCredentials {
  return {
    accessKey: `ASHL${randomText(random, 16)}`,
    secretKey: random.bytes(30).toString('base64').replaceAll('+', 'p').replaceAll('/', 's'),
  };
}

/** The folder's credentials; made and stored on first use. */
export function folderCredentials(
  folder: string,
  random: Random,
): { credentials: RootCredentials; generated: boolean } {
  const path = join(folder, CREDENTIALS_FILE);
  const text = readIfThere(path);
  if (text !== undefined) {
    const { accessKey, secretKey } = JSON.parse(text) as RootCredentials;
    return { credentials: { accessKey, secretKey }, generated: false };
  }
  const credentials = generateCredentials(random);
  writeWhole(path, `${JSON.stringify(credentials, null, 2)}\n`, random, 0o600);
  return { credentials, generated: true };
}

/** The folder's cluster secret (64 hex digits); made and stored on first use. */
export function clusterSecret(folder: string, random: Random): string {
  const path = join(folder, CLUSTER_SECRET_FILE);
  const stored = readIfThere(path)?.trim();
  if (stored !== undefined) return stored;
  const secret = random.bytes(32).toString('hex');
  writeWhole(path, `${secret}\n`, random, 0o600);
  return secret;
}

/**
 * The folder's master keys, the active one first; the first one is made and stored on first use. To
 * change it, put another line in front.
 */
export function folderMasterKeys(folder: string, random: Random): string[] {
  const stored = storedMasterKeys(folder);
  if (stored !== undefined) return stored;
  const key = random.bytes(32).toString('base64');
  const path = join(folder, MASTER_KEYS_FILE);
  writeWhole(path, `${MASTER_KEYS_NOTE}${key}\n`, random, 0o600);
  return [key];
}

/** As they are in the folder; undefined when nothing was ever started there. */
export function storedMasterKeys(folder: string): string[] | undefined {
  return readIfThere(join(folder, MASTER_KEYS_FILE))
    ?.split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

const MASTER_KEYS_NOTE = `# Master keys of SSE-S3: the first one encrypts, all of them decrypt. Objects that were encrypted with a
# key that is lost are lost: keep a copy of this file, and not beside the data.
`;
