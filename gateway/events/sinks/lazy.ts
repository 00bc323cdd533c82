/** A connection that is made at its first use, and anew after it has failed. */
import type { Clock } from '../../../base/clock.ts';
import { Failure } from '../../../base/failure.ts';
import type { EventSink } from './sink.ts';

/** What a client library must offer to be a sink. */
export interface Connection {
  send(message: string, key: string): Promise<void>;
  close(): Promise<void>;
}

export interface LazyOptions {
  /** For messages: `the NATS target audit`. */
  what: string;
  timeoutMs: number;
  clock: Clock;
  connect(): Promise<Connection>;
}

export function createLazySink({ what, timeoutMs, clock, connect }: LazyOptions): EventSink {
  let connection: Promise<Connection> | undefined;

  async function drop(): Promise<void> {
    const old = connection;
    connection = undefined;
    // It is of no use any more, whatever comes of closing it.
    await (await old?.catch(() => undefined))?.close().catch(() => {});
  }

  return {
    async send(message, key) {
      connection ??= connect();
      const current = connection;
      try {
        await within(
          clock,
          timeoutMs,
          current.then((open) => open.send(message, key)),
        );
      } catch (error) {
        if (connection === current) void drop();
        const why = error instanceof Error ? error.message : String(error);
        throw new Failure('unavailable', `${what}: ${why}`, { cause: error });
      }
    },
    close: drop,
  };
}

function within<T>(clock: Clock, timeoutMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => {
      reject(new Failure('timeout', `not taken within ${timeoutMs} ms`));
    });
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
