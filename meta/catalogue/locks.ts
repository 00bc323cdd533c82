/**
 * Object lock: whether a version may go, what retention a new one gets, and how locks change. Decided
 * inside the commit, by the row of the version and the clock of the metadata service. The lowest steps
 * that drop a version (`versions.ts`) look at its lock, too: no way around it.
 */
import { assert, Failure } from '../../base/failure.ts';
import {
  type Answer,
  OBJECT_LOCK_CONFIG,
  type ObjectLock,
  type ObjectLockConfiguration,
  type SetObjectLockCommand,
} from '../protocol.ts';
import type { Codec } from './codec.ts';
import type { Draft } from './draft.ts';
import { settingKey } from './keyspace.ts';
import { settingCodec } from './records.ts';
import type { Scope } from './usage.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

export const LOCKED: Answer<never> = {
  ok: false,
  refusal: 'AccessDenied',
  message: 'Access Denied because object protected by object lock.',
};

export const NO_LOCK_CONFIGURATION: Answer<never> = {
  ok: false,
  refusal: 'InvalidRequest',
  message: 'Bucket is missing Object Lock Configuration',
};

/** Whether the retention has not ended at `nowMs`. */
function isRetained({ mode, untilMs }: ObjectLock, nowMs: number): boolean {
  return mode !== undefined && untilMs !== undefined && untilMs > nowMs;
}

/** Whether a version must stay: `bypassGovernance` opens GOVERNANCE and nothing else. Pure. */
export function isLocked(
  { lock }: { lock?: ObjectLock | undefined },
  nowMs: number,
  bypassGovernance: boolean | undefined,
): boolean {
  if (lock === undefined) return false;
  if (lock.legalHold === true) return true;
  return isRetained(lock, nowMs) && !(lock.mode === 'GOVERNANCE' && bypassGovernance === true);
}

/** Whoever drops a version has judged its lock before; one who did not ends here. */
export function assertUnlocked(
  draft: Draft,
  scope: Pick<Scope, 'bypassGovernance'>,
  version: { lock?: ObjectLock | undefined },
): void {
  const locked = isLocked(version, draft.nowMs, scope.bypassGovernance);
  assert(!locked, 'a version under object lock stays');
}

/* ------------------------------------------------------------------ default retention */

const configurationCodec: Codec<ObjectLockConfiguration> = {
  encode: (value) => settingCodec.encode({ value: JSON.stringify(value) }),
  decode(bytes) {
    const { value } = settingCodec.decode(bytes);
    try {
      return JSON.parse(value) as ObjectLockConfiguration;
    } catch (cause) {
      throw new Failure('corrupt', 'the object lock configuration of a bucket', { cause });
    }
  },
};

/** When a retention of so long ends that begins at `fromMs`. Years are those of the calendar. */
export function retentionEnd(period: { days: number } | { years: number }, fromMs: number): number {
  if ('days' in period) return fromMs + period.days * DAY_MS;
  const end = new Date(fromMs);
  const month = end.getUTCMonth();
  end.setUTCFullYear(end.getUTCFullYear() + period.years);
  // A 29th of February has no anniversary in most years: the last day of the month before.
  if (end.getUTCMonth() !== month) end.setUTCDate(0);
  return end.getTime();
}

/**
 * The lock of a new version that is made at `fromMs`: its own, with the bucket's default retention if
 * it has none. Undefined: the configuration was not read yet.
 */
export function lockOfNew(
  draft: Draft,
  scope: Scope,
  own: ObjectLock | undefined,
  fromMs: number,
): { lock: ObjectLock | undefined } | undefined {
  if (scope.locks !== true || own?.mode !== undefined) return { lock: own };
  const row = draft.row(settingKey(scope.bucketId, OBJECT_LOCK_CONFIG), configurationCodec);
  if (row === undefined) return undefined;
  const retention = row.value?.retention;
  if (retention === undefined) return { lock: own };
  const untilMs = retentionEnd(retention.period, fromMs);
  return { lock: { ...own, mode: retention.mode, untilMs } };
}

/* ------------------------------------------------------------------ changes */

/** What a version's lock becomes; a refusal for less than it has, and for a time in the past. Pure. */
export function changedLock(
  current: ObjectLock,
  command: Pick<SetObjectLockCommand, 'retention' | 'legalHold' | 'bypassGovernance'>,
  nowMs: number,
): Answer<ObjectLock | undefined> {
  const { retention, legalHold = current.legalHold, bypassGovernance } = command;
  const next: ObjectLock = { ...(retention ?? current) };
  if (legalHold === undefined) delete next.legalHold;
  else next.legalHold = legalHold;
  if (retention !== undefined) {
    const { mode, untilMs = 0 } = retention;
    if (mode !== undefined && untilMs <= nowMs) {
      const message = 'The retain until date must be in the future!';
      const detail = {
        ArgumentName: 'RetainUntilDate',
        ArgumentValue: new Date(untilMs).toISOString(),
      };
      return { ok: false, refusal: 'InvalidArgument', message, detail };
    }
    const free =
      !isRetained(current, nowMs) || (current.mode === 'GOVERNANCE' && bypassGovernance === true);
    if (!free && (mode !== current.mode || untilMs < (current.untilMs ?? 0))) return LOCKED;
  }
  const nothing = next.mode === undefined && next.legalHold === undefined;
  return { ok: true, value: nothing ? undefined : next };
}
