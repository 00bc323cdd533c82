/** The limits of the contract (`KV_LIMITS`), refused in the same way by every engine. */
import { Failure } from '../../base/failure.ts';
import { type Commit, KV_LIMITS, type Range, STAMP_BYTES } from './kv.ts';

/** Range bounds may be a little longer than a key: "just after this key" appends a byte. */
const BOUND_BYTES_MAX = KV_LIMITS.keyBytes + 16;

function invalid(message: string): Failure {
  return new Failure('invalid', message);
}

function checkKey(key: Uint8Array): void {
  if (key.length === 0) throw invalid('a key has at least one byte');
  if (key.length > KV_LIMITS.keyBytes) {
    throw invalid(`a key of ${key.length} bytes is over the limit of ${KV_LIMITS.keyBytes}`);
  }
}

/** Throws Failure `invalid` when a `get` is over the limits. */
export function checkGet(keys: readonly Uint8Array[]): void {
  if (keys.length > KV_LIMITS.getKeys) {
    throw invalid(`${keys.length} keys in one get are over the limit of ${KV_LIMITS.getKeys}`);
  }
  for (const key of keys) checkKey(key);
}

/** Throws Failure `invalid` when a `range` is over the limits. */
export function checkRange(range: Range): void {
  if (!Number.isInteger(range.limit) || range.limit < 1 || range.limit > KV_LIMITS.rangeRows) {
    throw invalid(`a range returns 1 to ${KV_LIMITS.rangeRows} rows, not ${range.limit}`);
  }
  if (range.start.length > BOUND_BYTES_MAX || range.end.length > BOUND_BYTES_MAX) {
    throw invalid(`a range bound is over the limit of ${BOUND_BYTES_MAX} bytes`);
  }
}

/**
 * Throws Failure `invalid` when a commit is over the limits or is not well formed: a check for
 * absence without a set of that key, or an add on a key that the same commit sets or deletes.
 * Returns the bytes of its keys and values.
 */
export function checkCommit(commit: Commit): number {
  if (commit.id.length !== STAMP_BYTES) throw invalid(`a commit id has ${STAMP_BYTES} bytes`);
  const { checks, set, del, add } = commit;
  const ops = checks.length + set.length + del.length + add.length;
  if (ops > KV_LIMITS.commitOps) {
    throw invalid(`${ops} operations in one commit are over the limit of ${KV_LIMITS.commitOps}`);
  }
  const bytes = checkSizes(commit);
  if (bytes > KV_LIMITS.commitBytes) {
    throw invalid(`a commit of ${bytes} bytes is over the limit of ${KV_LIMITS.commitBytes}`);
  }
  checkAbsenceRule(commit);
  if (add.length > 0) {
    const written = keyTest([...set.map((row) => row.key), ...del]);
    for (const row of add) {
      if (written(row.key)) throw invalid('an add on a key that the same commit sets or deletes');
    }
  }
  return bytes;
}

function checkSizes({ checks, set, del, add }: Commit): number {
  let bytes = 0;
  for (const { key, stamp } of checks) {
    checkKey(key);
    if (stamp !== null && stamp.length !== STAMP_BYTES) {
      throw invalid(`a stamp has ${STAMP_BYTES} bytes`);
    }
    bytes += key.length;
  }
  for (const { key, value } of set) {
    checkKey(key);
    if (value.length > KV_LIMITS.valueBytes) {
      throw invalid(
        `a value of ${value.length} bytes is over the limit of ${KV_LIMITS.valueBytes}`,
      );
    }
    bytes += key.length + value.length;
  }
  for (const key of del) {
    checkKey(key);
    bytes += key.length;
  }
  for (const { key } of add) {
    checkKey(key);
    bytes += key.length + 8;
  }
  return bytes;
}

function checkAbsenceRule({ checks, set }: Commit): void {
  let isSet: ((key: Uint8Array) => boolean) | undefined;
  for (const { key, stamp } of checks) {
    if (stamp !== null) continue;
    isSet ??= keyTest(set.map((row) => row.key));
    if (!isSet(key)) throw invalid('a check for absence comes with a set of the same key');
  }
}

/** Few keys are compared one by one, many through a Set. */
function keyTest(keys: Uint8Array[]): (key: Uint8Array) => boolean {
  if (keys.length <= 16) return (key) => keys.some((other) => Buffer.compare(key, other) === 0);
  const names = new Set(keys.map((key) => Buffer.from(key).toString('latin1')));
  return (key) => names.has(Buffer.from(key).toString('latin1'));
}
