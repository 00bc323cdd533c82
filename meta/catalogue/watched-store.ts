/**
 * The catalogue's store, seen through: while somebody recounts, it tells which references and which
 * buckets are being written, and it can hold the writes to one bucket for a moment. A recount reads
 * page by page while commits go on; what was not written in the meantime was counted exactly.
 *
 * It sees the commits of this process only. There is one metadata service per cluster
 * (ARCHITECTURE.md), so those are all.
 */
import type { Commit, CommitResult, KeyValueStore } from '../engine/kv.ts';
import { bucketOfRow, isUsageKey, kindOfRow, pageOfKey } from './keyspace.ts';
import { objectCodec, partCodec, partPageCodec } from './records.ts';
import { type Target, targetOf, targetOfBlob } from './targets.ts';

export interface Watch {
  /** A commit was sent that makes a row which refers to the target. */
  moved(target: Target): boolean;
  /** A commit was sent that writes objects or counters of the bucket. */
  written(bucket: number): boolean;
  end(): void;
}

interface Watching {
  readonly targets: ReadonlySet<Target>;
  readonly moved: Set<Target>;
  readonly written: Set<number>;
}

interface Held {
  readonly bucket: number;
  readonly released: Promise<void>;
}

export class WatchedStore implements KeyValueStore {
  readonly #inner: KeyValueStore;
  #watching: Watching | undefined;
  #held: Held | undefined;

  constructor(inner: KeyValueStore) {
    this.#inner = inner;
  }

  get: KeyValueStore['get'] = (keys) => this.#inner.get(keys);
  range: KeyValueStore['range'] = (range) => this.#inner.range(range);
  close: KeyValueStore['close'] = () => this.#inner.close();

  commit(commit: Commit): Promise<CommitResult> {
    const held = this.#held;
    if (held !== undefined && writesTo(commit, held.bucket)) {
      return held.released.then(() => this.commit(commit));
    }
    if (this.#watching !== undefined) see(this.#watching, commit);
    return this.#inner.commit(commit);
  }

  /** Watches all buckets, and references to `targets`; one watch at a time. Commits under way are not seen. */
  watch(targets: ReadonlySet<Target> = new Set()): Watch {
    const watching: Watching = { targets, moved: new Set(), written: new Set() };
    this.#watching = watching;
    return {
      moved: (target) => watching.moved.has(target),
      written: (bucket) => watching.written.has(bucket),
      end: () => {
        if (this.#watching === watching) this.#watching = undefined;
      },
    };
  }

  /** Commits that write to the bucket wait until the function that is returned is called; one at a time. */
  hold(bucket: number): () => void {
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const held: Held = { bucket, released };
    this.#held = held;
    return () => {
      if (this.#held === held) this.#held = undefined;
      release();
    };
  }
}

function writesTo({ set, del, add }: Commit, bucket: number): boolean {
  return (
    add.some(({ key }) => isUsageKey(key) && bucketOfRow(key) === bucket) ||
    set.some(({ key }) => isObjectRow(key) && bucketOfRow(key) === bucket) ||
    del.some((key) => isObjectRow(key) && bucketOfRow(key) === bucket)
  );
}

function isObjectRow(key: Uint8Array): boolean {
  const kind = kindOfRow(key);
  return kind === 'object' || kind === 'version';
}

function see({ targets, moved, written }: Watching, { set, del, add }: Commit): void {
  for (const { key } of add) if (isUsageKey(key)) written.add(bucketOfRow(key));
  for (const key of del) if (isObjectRow(key)) written.add(bucketOfRow(key));
  for (const { key, value } of set) {
    if (isObjectRow(key)) written.add(bucketOfRow(key));
    for (const target of targetsOfRow(key, value)) if (targets.has(target)) moved.add(target);
  }
}

/** What a row refers to. */
function targetsOfRow(keyBytes: Uint8Array, valueBytes: Uint8Array): Target[] {
  const key = Buffer.from(keyBytes.buffer, keyBytes.byteOffset, keyBytes.length);
  const value = Buffer.from(valueBytes.buffer, valueBytes.byteOffset, valueBytes.length);
  switch (kindOfRow(key)) {
    case 'object':
    case 'version': {
      const target = targetOf(objectCodec.decode(value).data);
      return target === undefined ? [] : [target];
    }
    case 'part': {
      const { data } = partCodec.decode(value);
      return data === undefined ? [] : [targetOfBlob(data.blob)];
    }
    case 'part list': {
      if (pageOfKey(key).page === 0) return [];
      const { parts } = partPageCodec.decode(value);
      return parts.flatMap(({ data }) => (data === undefined ? [] : [targetOfBlob(data.blob)]));
    }
    case undefined:
      return [];
  }
}
