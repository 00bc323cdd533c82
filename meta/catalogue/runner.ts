/**
 * Runs steps: read, decide, commit, and again when somebody else was faster. All effects of the
 * catalogue's writes are here.
 */
import type { Effects } from '../../base/clock.ts';
import { assert, isFailure } from '../../base/failure.ts';
import type { Commit, CommitResult, KeyValueStore } from '../engine/kv.ts';
import { KV_LIMITS } from '../engine/kv.ts';
import type { Answer } from '../protocol.ts';
import { Draft, type Entries, nameOf } from './draft.ts';
import type { Ids } from './ids.ts';

/** Tries until a step that keeps losing its race gives up. */
const ATTEMPTS_MAX = 40;
/** Tries that follow each other at once; later ones wait a little, at random. */
const ATTEMPTS_AT_ONCE = 6;
const WAIT_MS_MAX = 20;
/** Rounds of "I need another row" of one try: a chain of references, so short. */
const ROUNDS_MAX = 8;

/** Decides on a draft. Any answer that was given while rows were missing is dropped. */
export type Step<T> = (draft: Draft) => Answer<T>;

/** The answer of a step that cannot decide yet. */
export const PENDING: Answer<never> = { ok: false, refusal: 'OperationAborted' };

export interface Runner {
  readonly ids: Ids;
  /**
   * Runs `step` on one snapshot of the rows `keys` and those it asks for (1,024 in all). `onConflict`
   * is the answer when every try lost a race. Throws what the store throws.
   */
  run<T>(keys: readonly Buffer[], step: Step<T>, options?: RunOptions<T>): Promise<Answer<T>>;
  /** A short wait of random length, before another try. */
  pause: () => Promise<void>;
}

export interface RunOptions<T> {
  onConflict?: Answer<T> | undefined;
  attemptsMax?: number | undefined;
}

export function createRunner(store: KeyValueStore, effects: Effects, ids: Ids): Runner {
  const pause = () => effects.clock.sleep(effects.random.fraction() * WAIT_MS_MAX);

  async function read(keys: readonly Buffer[]): Promise<Entries> {
    const entries: Entries = new Map();
    for (let from = 0; from < keys.length; from += KV_LIMITS.getKeys) {
      const batch =
        keys.length <= KV_LIMITS.getKeys ? keys : keys.slice(from, from + KV_LIMITS.getKeys);
      const found = await store.get(batch);
      for (const [index, key] of batch.entries()) entries.set(nameOf(key), found[index] ?? null);
    }
    return entries;
  }

  /**
   * Runs the step until it has read all it looks at; undefined when what it looks at kept changing.
   * Each round reads everything again, together with what was missing: a step sees one snapshot, in
   * which what is referred to is there.
   */
  async function decide<T>(keys: readonly Buffer[], step: Step<T>) {
    let wanted = keys;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const draft = new Draft(await read(wanted), ids.nowMs(), ids);
      const answer = step(draft);
      if (draft.needed.length === 0) {
        assert(answer !== PENDING, 'a step that has read all it looks at decides');
        return { draft, answer };
      }
      wanted = [...wanted, ...draft.needed];
    }
    return undefined;
  }

  async function run<T>(
    keys: readonly Buffer[],
    step: Step<T>,
    options: RunOptions<T> = {},
  ): Promise<Answer<T>> {
    const attemptsMax = options.attemptsMax ?? ATTEMPTS_MAX;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const decided = await decide(keys, step);
      if (decided !== undefined) {
        const { draft, answer } = decided;
        if (!answer.ok || draft.empty) return answer;
        const result = await commitKnown(store, draft.commit(ids.stamp(draft.nowMs)));
        if (result.committed) return answer;
        // Counters are only bounded by quotas, and a quota does not wait.
        if (result.over === true) return { ok: false, refusal: 'QuotaExceeded' };
      }
      if (attempt >= ATTEMPTS_AT_ONCE) await pause();
    }
    return options.onConflict ?? { ok: false, refusal: 'OperationAborted' };
  }

  return { ids, run, pause };
}

/**
 * Commits; when the connection broke after sending, a row that carries our stamp tells that it was
 * done. Otherwise the outcome stays unknown, and the caller is told so.
 */
async function commitKnown(store: KeyValueStore, commit: Commit): Promise<CommitResult> {
  try {
    return await store.commit(commit);
  } catch (error) {
    const witness = commit.set[0];
    if (witness === undefined || !isFailure(error, 'unknown-outcome')) throw error;
    const [entry] = await store.get([witness.key]);
    if (entry?.stamp.equals(commit.id) !== true) throw error;
    return { committed: true };
  }
}
