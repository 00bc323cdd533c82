import type { Answer } from '../../../meta/protocol.ts';
import type { KeyTarget, WrappedDataKey } from '../../keys/protocol.ts';
import type { StoredBody, StoreOptions } from '../../object/engine.ts';
import type { Context } from '../operation.ts';
import type { RequestedEncryption } from './headers.ts';
import { CHANGES_MAX, TargetChanged, watchedTarget } from './target-watch.ts';

/** What became of a body. */
export interface StoreOutcome<T> {
  answer: Answer<T>;
  sealed: WrappedDataKey | undefined;
}

/**
 * Stores a body as `objects.store` does, encrypted as the request asks or its bucket says when `commit`
 * succeeds. A body that can be read only once is read back and stored again when the bucket's default
 * turns out to have changed. `commit` must name `sealed.encryption`.
 */
export async function storeBody<T>(
  requested: RequestedEncryption | undefined,
  context: Context,
  body: AsyncIterable<Uint8Array>,
  commit: (stored: StoredBody, sealed: WrappedDataKey | undefined) => Promise<Answer<T>>,
  options: Omit<StoreOptions, 'dataKey'>,
): Promise<StoreOutcome<T>> {
  const { objects, encryption } = context;
  let changes = 0;
  /** What became of the body the last time it was stored, where that was not the first time. */
  let last: { outcome: StoreOutcome<T> } | { error: unknown } | undefined;

  async function write(
    content: AsyncIterable<Uint8Array>,
    target: KeyTarget | undefined,
  ): Promise<StoreOutcome<T>> {
    const sealed = target && (await encryption.keys.create(target));
    const answer = await objects.store(
      content,
      async (stored) => {
        try {
          return await commit(stored, sealed);
        } catch (error) {
          if (!(error instanceof TargetChanged) || ++changes > CHANGES_MAX) throw error;
          last = await again(stored, sealed);
          // What was stored first is dropped, whatever became of it then.
          return { ok: false, refusal: 'BucketChanged' };
        }
      },
      sealed === undefined ? options : { ...options, dataKey: sealed.dataKey },
    );
    if (last === undefined) return { answer, sealed };
    if ('error' in last) throw last.error;
    return last.outcome;
  }

  async function again(
    stored: StoredBody,
    sealed: WrappedDataKey | undefined,
  ): Promise<typeof last> {
    try {
      const target = await watchedTarget(requested, context);
      return { outcome: await write(objects.reread(stored, sealed?.dataKey), target) };
    } catch (error) {
      return { error };
    }
  }

  return await write(body, await watchedTarget(requested, context));
}
