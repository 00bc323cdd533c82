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
  let last: StoreOutcome<T> | undefined;

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
          const again = await watchedTarget(requested, context);
          last = await write(objects.reread(stored, sealed?.dataKey), again);
          // What was stored first is dropped.
          return { ok: false, refusal: 'BucketChanged' };
        }
      },
      sealed === undefined ? options : { ...options, dataKey: sealed.dataKey },
    );
    return last ?? { answer, sealed };
  }

  return await write(body, await watchedTarget(requested, context));
}
