/** A wait that ends, whatever the other side does. */
import type { Clock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';

/** The outcome of `work`, or Failure `timeout` after `limitMs`. `work` itself is not stopped. */
export function bounded<T>(clock: Clock, limitMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(limitMs, () =>
      reject(new Failure('timeout', `no answer within ${limitMs} ms`)),
    );
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
