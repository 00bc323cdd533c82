/**
 * `ashlar encryption`: who wraps the data keys, and wrapping them anew. The keys are those of this
 * process (as a gateway's are, or the folder's): the metadata service has none.
 */
import { systemEffects } from '../../base/clock.ts';
import { type Loaded, processEnvironment } from '../../base/config.ts';
import { EXIT } from '../../base/lifecycle.ts';
import { NO_KEYS, openKeyring } from '../../gateway/keys/open-keyring.ts';
import { KeyError, type Keyring } from '../../gateway/keys/protocol.ts';
import {
  DATA_KEY_CHANGES_MAX,
  DATA_KEY_ROWS_MAX,
  type DataKeyChange,
  type DataKeyWalk,
} from '../../meta/admin-protocol.ts';
import { storedMasterKeys } from '../credentials.ts';
import { defaultDataFolder, type Settings } from '../settings.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import { count } from './format.ts';
import type { Screen } from './screen.ts';
import { columns } from './table.ts';

/** As configured for this process, or else those of the folder. */
export function masterKeysOf({ value }: Loaded<Settings>): Keyring {
  const folder = value.data ?? defaultDataFolder(processEnvironment());
  const { masterKeys: given } = value.encryption;
  const masterKeys = given.length > 0 ? given : (storedMasterKeys(folder) ?? []);
  return openKeyring({ ...NO_KEYS, masterKeys }, { effects: systemEffects, fetch });
}

type Counts = DataKeyWalk['counts'];

/** Calls `each` for every step of one walk over all rows; returns the counts of all of them. */
async function walk(
  { admin, call }: Operator,
  active: string | undefined,
  each: (step: DataKeyWalk, rows: number) => Promise<void> | void,
): Promise<Counts> {
  const totals = new Map<string, Counts[number]>();
  let rows = 0;
  let after: Buffer | undefined;
  do {
    const query = { after, active, limit: DATA_KEY_ROWS_MAX };
    const step = await admin.walkDataKeys(query, call);
    rows += step.rows;
    for (const one of step.counts) {
      const name = `${one.algorithm} ${one.keyId ?? ''}`;
      totals.set(name, { ...one, count: one.count + (totals.get(name)?.count ?? 0) });
    }
    await each(step, rows);
    after = step.next;
  } while (after !== undefined);
  return [...totals.values()];
}

export async function showKeys(
  operator: Operator,
  screen: Screen,
  { activeMasterKey }: Keyring,
): Promise<void> {
  const counts = await walk(operator, activeMasterKey, (_, rows) =>
    screen.progress(`${count(rows)} versions and uploads read`),
  );
  screen.progressDone();
  screen.show({ activeMasterKey, encrypted: counts }, () => [
    activeMasterKey === undefined
      ? 'There is no master key here.'
      : `The active master key is ${activeMasterKey}.`,
    ...(counts.length === 0
      ? ['Nothing is encrypted.']
      : columns(
          counts.map(({ algorithm, keyId, count: number }) => [
            MODES[algorithm],
            keyId ?? '',
            count(number),
            algorithm === 'AES256' && keyId === activeMasterKey ? 'active' : '',
          ]),
          [2],
        )),
  ]);
}

const MODES: Readonly<Record<Counts[number]['algorithm'], string>> = {
  AES256: 'SSE-S3',
  'aws:kms': 'SSE-KMS',
  'aws:kms:dsse': 'DSSE-KMS',
  customer: 'SSE-C',
};

/** Walks until one walk finds nothing: what changes its place during a walk may be missed by it. */
const WALKS_MAX = 20;

export async function rotateKeys(operator: Operator, screen: Screen, keys: Keyring): Promise<void> {
  const { activeMasterKey: active } = keys;
  if (active === undefined) {
    throw new VerbError(
      'There is no master key here: set ASHLAR_ENCRYPTION_MASTER_KEYS_FILE as for the gateways, or name the folder of `ashlar start` with --data.',
      EXIT.usage,
    );
  }
  let changed = 0;
  let lost = 0;
  let found = 1;
  for (let pass = 1; pass <= WALKS_MAX && found > 0; pass++) {
    found = 0;
    lost = 0;
    await walk(operator, active, async ({ outdated }, rows) => {
      const { changes, unknown } = await rewrapped(keys, outdated);
      lost += unknown;
      found += changes.length;
      for (let from = 0; from < changes.length; from += DATA_KEY_CHANGES_MAX) {
        const batch = changes.slice(from, from + DATA_KEY_CHANGES_MAX);
        const answer = await operator.admin.rewrapDataKeys({ changes: batch }, operator.call);
        changed += answer.changed;
      }
      screen.progress(`${count(rows)} versions and uploads read, ${count(changed)} wrapped anew`);
    });
  }
  screen.progressDone();
  if (lost > 0 || found > 0) process.exitCode = EXIT.failed;
  screen.show({ activeMasterKey: active, changed, unknownMasterKeys: lost }, () => [
    `Wrapped ${count(changed)} data keys anew by ${active}.`,
    ...verdictOf({ lost, found }),
  ]);
}

/** Whether the other master keys may go. `found`: by the last walk. */
export function verdictOf({ lost, found }: { lost: number; found: number }): string[] {
  const verdict: string[] = [];
  if (lost > 0) {
    verdict.push(
      `${count(lost)} are wrapped by a master key that is not here: give it, too, and rotate again.`,
    );
  }
  if (found > 0) {
    verdict.push(
      'All the time new ones came that another master key wraps: put this one in front on every gateway, and rotate again.',
    );
  }
  if (verdict.length > 0) return verdict;
  return ['No other master key is needed any more, if all gateways have this one in front.'];
}

async function rewrapped(
  keys: Keyring,
  outdated: DataKeyWalk['outdated'],
): Promise<{ changes: DataKeyChange[]; unknown: number }> {
  const changes: DataKeyChange[] = [];
  let unknown = 0;
  for (const { place, encryption } of outdated) {
    try {
      const dataKey = await keys.unwrap(encryption, undefined);
      const anew = await keys.wrap(dataKey, { algorithm: 'AES256' });
      changes.push({ place, from: encryption.wrappedKey, encryption: anew });
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      unknown += 1;
    }
  }
  return { changes, unknown };
}
