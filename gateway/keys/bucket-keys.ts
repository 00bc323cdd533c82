/**
 * Bucket keys: one key of the KMS serves all new objects of a bucket for a few minutes, and is kept
 * as long for reading, so that not every request asks the KMS. Whoever loses the right to use the
 * KMS key therefore loses it some minutes later.
 */
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../base/clock.ts';
import type { KeyService } from './protocol.ts';

/** How long a key is used, in milliseconds: AWS says "for a limited time". */
const KEEP_MS = 5 * 60_000;
const KEPT_MAX = 1000;

/** A map that forgets what is old, and the oldest when there is too much. */
class Recent<T> {
  readonly #entries = new Map<string, { value: T; untilMs: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(name: string): T | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    if (entry.untilMs > this.#clock.monotonic()) return entry.value;
    this.#entries.delete(name);
    return undefined;
  }

  set(name: string, value: T): void {
    this.#entries.delete(name);
    this.#entries.set(name, { value, untilMs: this.#clock.monotonic() + KEEP_MS });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= KEPT_MAX) break;
      this.#entries.delete(oldest);
    }
  }
}

export class BucketKeys {
  readonly #service: KeyService;
  readonly #made: Recent<{ key: KeyObject; wrapped: Buffer }>;
  readonly #opened: Recent<KeyObject>;

  constructor(service: KeyService, clock: Clock) {
    this.#service = service;
    this.#made = new Recent(clock);
    this.#opened = new Recent(clock);
  }

  async generate(bucket: string, keyId: string): Promise<{ key: KeyObject; wrapped: Buffer }> {
    const name = `${bucket}/${keyId}`;
    const kept = this.#made.get(name);
    if (kept !== undefined) return kept;
    const made = await this.#service.generate(keyId);
    this.#made.set(name, made);
    return made;
  }

  async unwrap(keyId: string, wrapped: Buffer): Promise<KeyObject> {
    const name = `${keyId}/${wrapped.toString('base64')}`;
    const kept = this.#opened.get(name);
    if (kept !== undefined) return kept;
    const key = await this.#service.unwrap(keyId, wrapped);
    this.#opened.set(name, key);
    return key;
  }
}
