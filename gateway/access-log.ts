/**
 * Delivers server access logs: lines are gathered in memory per target, and put there as objects when
 * there are enough of them or they are old enough. Best effort, as on AWS: what is gathered is lost
 * when the process dies, and lines are dropped when they cannot be put anywhere.
 */
import type { Effects } from '../base/clock.ts';
import { digestOf } from '../base/digest.ts';
import type { Log } from '../base/log.ts';
import type { Meta } from '../meta/protocol.ts';
import type { Keyring, KeyTarget } from './keys/protocol.ts';
import type { ObjectEngine } from './object/engine.ts';
import { ownershipOf } from './s3/access/bucket-access.ts';
import { BucketSettings } from './s3/access/bucket-settings.ts';
import {
  LOGGING_CONFIG,
  type LoggingConfig,
  logKey,
  type LogSource,
  parseLogging,
} from './s3/access-log/config.ts';
import { mayDeliver } from './s3/access-log/delivery-right.ts';
import {
  accessLogLine,
  type LoggedRequest,
  type SideAction,
  sideActionLine,
} from './s3/access-log/record.ts';
import { etagOf } from './s3/encryption/etag.ts';

export interface AccessLogOptions {
  meta: Pick<Meta, 'getBucketSettings' | 'putObject'>;
  objects: Pick<ObjectEngine, 'store'>;
  keys: Pick<Keyring, 'create'>;
  /** How a bucket encrypts what nobody says anything about; undefined: not at all. */
  encryptionOf(settings: BucketSettings): KeyTarget | undefined;
  /** The account number behind a canonical id. */
  accountOf(id: string): Promise<string>;
  effects: Effects;
  log: Log;
  region: string;
  /** Lines wait no longer than this, in milliseconds. */
  flushMs: number;
  /** Counts lines by what became of them. */
  count(outcome: 'delivered' | 'dropped' | 'refused', lines: number): void;
}

/** A log object is put when it is this large. */
const OBJECT_BYTES = 1024 * 1024;
/** All lines that one gateway gathers. */
const MEMORY_BYTES_MAX = 32 * 1024 * 1024;
const TICKS_PER_FLUSH = 10;
const TICK_MS_MIN = 20;
const TICK_MS_MAX = 5000;
/** A failed delivery is tried again with the next flush, so often. */
const ATTEMPTS_MAX = 5;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Lines on their way to one object. */
interface Batch {
  config: LoggingConfig;
  bucket: string;
  owner: string;
  lines: string[];
  bytes: number;
  /** When the first request happened, and when it was logged (monotonic). */
  eventMs: number;
  sinceMs: number;
  attempts: number;
}

export class AccessLogWriter {
  readonly #options: AccessLogOptions;
  readonly #batches = new Map<string, Batch>();
  readonly #stopped = new AbortController();
  readonly #flushing = new Set<Promise<void>>();
  #bytes = 0;
  #loop: Promise<void> | undefined;

  constructor(options: AccessLogOptions) {
    this.#options = options;
  }

  /** `settings`: of the bucket that the request, or the action beside it, is about: its log gets a line. */
  add(
    settings: BucketSettings,
    entry: Omit<LoggedRequest, 'bucketOwner' | 'bucket'>,
    action?: SideAction,
  ): void {
    const config = settings.parsed(LOGGING_CONFIG, parseLogging);
    if (config === undefined) return;
    const { owner, name: bucket } = settings.bucket;
    const whole = { ...entry, bucketOwner: owner, bucket };
    const line = action === undefined ? accessLogLine(whole) : sideActionLine(action, whole);
    const bytes = Buffer.byteLength(line);
    const day = config.format === 'event-time' ? Math.floor(entry.atMs / DAY_MS) : 0;
    const source = (config.format ?? 'simple') === 'simple' ? '' : bucket;
    const place = JSON.stringify([config, source, owner, day]);
    let batch = this.#batches.get(place);
    if (batch === undefined) {
      const sinceMs = this.#options.effects.clock.monotonic();
      const fresh = { lines: [], bytes: 0, eventMs: entry.atMs, sinceMs, attempts: 0 };
      batch = { config, bucket, owner, ...fresh };
      this.#batches.set(place, batch);
    }
    batch.lines.push(line);
    batch.bytes += bytes;
    this.#bytes += bytes;
    if (batch.bytes >= OBJECT_BYTES) this.#flush(place, batch);
    else if (this.#bytes > MEMORY_BYTES_MAX) this.#drop(place, batch);
  }

  start(): void {
    const { clock } = this.#options.effects;
    const { flushMs } = this.#options;
    const tickMs = Math.min(TICK_MS_MAX, Math.max(TICK_MS_MIN, flushMs / TICKS_PER_FLUSH));
    this.#loop ??= (async () => {
      while (!this.#stopped.signal.aborted) {
        await clock.sleep(tickMs, this.#stopped.signal).catch(() => {});
        for (const [place, batch] of this.#batches) {
          if (clock.monotonic() - batch.sinceMs >= flushMs) this.#flush(place, batch);
        }
      }
    })();
  }

  /** Delivers what there is. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#loop;
    for (const [place, batch] of this.#batches) this.#flush(place, batch);
    await Promise.all(this.#flushing);
  }

  #drop(place: string, batch: Batch): void {
    this.#batches.delete(place);
    this.#bytes -= batch.bytes;
    this.#options.count('dropped', batch.lines.length);
  }

  #flush(place: string, batch: Batch): void {
    this.#batches.delete(place);
    const work = this.#deliver(batch)
      .then(
        (outcome) => {
          this.#bytes -= batch.bytes;
          this.#options.count(outcome, batch.lines.length);
        },
        (error: unknown) => this.#retry(place, batch, error),
      )
      .finally(() => this.#flushing.delete(work));
    this.#flushing.add(work);
  }

  #retry(place: string, batch: Batch, error: unknown): void {
    const { log, effects, count } = this.#options;
    batch.attempts++;
    const over = batch.attempts >= ATTEMPTS_MAX || this.#stopped.signal.aborted;
    const target = batch.config.bucket;
    if (over || this.#bytes > MEMORY_BYTES_MAX) {
      this.#bytes -= batch.bytes;
      count('dropped', batch.lines.length);
      log.error({ target, lines: batch.lines.length, error }, 'access log lines were dropped');
      return;
    }
    batch.sinceMs = effects.clock.monotonic();
    // Beside a younger batch of the same place, which is an object of its own.
    this.#batches.set(`${place} ${batch.attempts} ${batch.sinceMs}`, batch);
    log.warn({ target, error }, 'an access log could not be delivered: trying again');
  }

  async #deliver(batch: Batch): Promise<'delivered' | 'refused'> {
    const { meta, objects, keys, effects, log, region } = this.#options;
    const { config, bucket } = batch;
    const found = await meta.getBucketSettings({ bucket: config.bucket });
    if (!found.ok) return 'refused';
    const target = new BucketSettings(found.value.bucket, found.value.values);
    const account = await this.#options.accountOf(batch.owner);
    const source: LogSource = { bucket, account, region };
    const unique = effects.random.bytes(8).toString('hex').toUpperCase();
    const nowMs = effects.clock.now();
    const key = logKey(config, source, { eventMs: batch.eventMs, nowMs, unique });
    if (target.bucket.owner !== batch.owner || !mayDeliver(target, key, source)) {
      log.warn({ bucket, target: config.bucket }, 'an access log may not be delivered any more');
      return 'refused';
    }
    const body = Buffer.from(batch.lines.join(''));
    const how = this.#options.encryptionOf(target);
    const sealed = how && (await keys.create(how));
    const etag = etagOf(digestOf('MD5', body).toString('hex'), sealed);
    const checksum = {
      algorithm: 'CRC64NVME' as const,
      type: 'FULL_OBJECT' as const,
      value: digestOf('CRC64NVME', body).toString('base64'),
    };
    const grants = ownershipOf(target) === 'BucketOwnerEnforced' ? undefined : config.grants;
    const { owner } = target.bucket;
    const own = { grantee: { id: owner }, permission: 'FULL_CONTROL' as const };
    const answer = await objects.store(
      chunks(body),
      ({ writer, size, data, missing }) =>
        meta.putObject({
          writer,
          bucket: config.bucket,
          key,
          // Exactly the bucket that was asked.
          expect: target.state,
          object: {
            size,
            etag,
            owner,
            data,
            checksum,
            system: { contentType: 'text/plain' },
            user: {},
            ...(sealed && { encryption: sealed.encryption }),
            ...(grants && { acl: [own, ...grants] }),
          },
          missing,
        }),
      { sizeHint: body.length, dataKey: sealed?.dataKey },
    );
    if (!answer.ok) throw new Error(`the target answered ${answer.refusal}`);
    return 'delivered';
  }
}

async function* chunks(body: Buffer): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield body;
}
