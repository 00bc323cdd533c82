/**
 * What a gateway knows about a bucket: its row and its configurations (policy, ACL, CORS, default
 * encryption …), read once and kept. Kept settings may be out of date; `guard.ts` makes sure that
 * nothing is ever done by them then. What is shown to a client is read from the metadata service.
 */
import type { Answer, Bucket, BucketState, Meta } from '../../../meta/protocol.ts';

/** Settings as of one revision of the bucket. Immutable. */
export class BucketSettings {
  readonly bucket: Bucket;
  readonly state: BucketState;
  /** Memory of the texts, roughly, in bytes. */
  readonly bytes: number;
  readonly #values: ReadonlyMap<string, string>;
  readonly #parsed = new Map<string, unknown>();

  constructor(bucket: Bucket, values: Readonly<Record<string, string>>) {
    this.bucket = bucket;
    this.state = { id: bucket.id, revision: bucket.revision };
    this.#values = new Map(Object.entries(values));
    let bytes = ROW_BYTES;
    for (const text of this.#values.values()) bytes += 2 * text.length;
    this.bytes = bytes;
  }

  /** The same with another text of one configuration: what the bucket would be like. */
  with(name: string, text: string): BucketSettings {
    return new BucketSettings(this.bucket, { ...Object.fromEntries(this.#values), [name]: text });
  }

  /** A configuration as it is stored; undefined when the bucket has none of that name. */
  text(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** A configuration, parsed at its first use only; `parse` must be the same for one name. */
  parsed<T>(name: string, parse: (text: string) => T): T | undefined {
    if (this.#parsed.has(name)) return this.#parsed.get(name) as T;
    const text = this.#values.get(name);
    const value = text === undefined ? undefined : parse(text);
    this.#parsed.set(name, value);
    return value;
  }
}

/** What the row and the maps of one bucket weigh. */
const ROW_BYTES = 1024;
const CACHE_BYTES_MAX = 64 * 1024 * 1024;

export interface SettingsSource {
  /** What is kept, or else what is stored. Refused with NoSuchBucket. */
  get(bucket: string): Promise<Answer<BucketSettings>> | Answer<BucketSettings>;
  /** What is kept, if anything is. */
  peek(bucket: string): BucketSettings | undefined;
  /** What is stored now. Whoever found `get` out of date calls this. */
  reload(bucket: string): Promise<Answer<BucketSettings>>;
  /** The bucket is gone. */
  forget(bucket: string): void;
}

/** Keeps the settings of the buckets that were used last, up to 64 MiB of them. */
export function createSettingsSource(meta: Pick<Meta, 'getBucketSettings'>): SettingsSource {
  const kept = new Map<string, BucketSettings>();
  const loads = new Map<string, Promise<Answer<BucketSettings>>>();
  let bytes = 0;

  function forget(name: string): void {
    bytes -= kept.get(name)?.bytes ?? 0;
    kept.delete(name);
  }

  function keep(name: string, settings: BucketSettings): void {
    forget(name);
    kept.set(name, settings);
    bytes += settings.bytes;
    for (const oldest of kept.keys()) {
      if (bytes <= CACHE_BYTES_MAX || oldest === name) break;
      forget(oldest);
    }
  }

  async function load(name: string): Promise<Answer<BucketSettings>> {
    const answer = await meta.getBucketSettings({ bucket: name });
    if (!answer.ok) {
      forget(name);
      return answer;
    }
    const settings = new BucketSettings(answer.value.bucket, answer.value.values);
    keep(name, settings);
    return { ok: true, value: settings };
  }

  /** Requests that miss at once share one question. */
  function shared(name: string): Promise<Answer<BucketSettings>> {
    const running = loads.get(name);
    if (running !== undefined) return running;
    const started = load(name).finally(() => loads.delete(name));
    loads.set(name, started);
    return started;
  }

  return {
    get(name) {
      const found = kept.get(name);
      if (found === undefined) return shared(name);
      // The least recently used one is at the front.
      kept.delete(name);
      kept.set(name, found);
      return { ok: true, value: found };
    },
    peek: (name) => kept.get(name),
    reload: load,
    forget,
  };
}
