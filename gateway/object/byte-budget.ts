/** A counting semaphore in bytes: what bounds the memory of a whole process. First come, first served. */
import { Failure } from '../../base/failure.ts';

interface Waiter {
  bytes: number;
  grant: () => void;
}

export class ByteBudget {
  readonly capacity: number;
  #used = 0;
  #peak = 0;
  readonly #queue: Waiter[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Bytes taken now. */
  get used(): number {
    return this.#used;
  }

  /** The most that was ever taken at once. */
  get peak(): number {
    return this.#peak;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Takes `bytes` at once, or nothing: false when they are not free or others wait already. */
  tryAcquire(bytes: number): boolean {
    if (this.#queue.length > 0 || !this.#fits(bytes)) return false;
    this.#take(bytes);
    return true;
  }

  /** Waits for `bytes`. Rejects with Failure `cancelled` when `signal` aborts first. */
  acquire(bytes: number, signal?: AbortSignal): Promise<void> {
    if (this.tryAcquire(bytes)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(new Failure('cancelled', 'cancelled'));
      const onAbort = () => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1);
        reject(new Failure('cancelled', 'cancelled while waiting for memory'));
        // A big request that leaves may have stood in the way of smaller ones behind it.
        this.#serve();
      };
      const waiter = {
        bytes,
        grant: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#queue.push(waiter);
    });
  }

  /** Gives back what was taken. */
  release(bytes: number): void {
    this.#used -= bytes;
    this.#serve();
  }

  /** A request over the whole capacity is served alone: it must not wait for ever. */
  #fits(bytes: number): boolean {
    return this.#used + bytes <= this.capacity || this.#used === 0;
  }

  #take(bytes: number): void {
    this.#used += bytes;
    if (this.#used > this.#peak) this.#peak = this.#used;
  }

  #serve(): void {
    for (;;) {
      const first = this.#queue[0];
      if (first === undefined || !this.#fits(first.bytes)) return;
      this.#queue.shift();
      this.#take(first.bytes);
      first.grant();
    }
  }
}
