/**
 * The metadata service and the object engine as one request sees them: whatever it asks or changes
 * in a bucket happens in the state of the bucket by which the request was judged, or not at all. When
 * the bucket has changed since, the request is judged again by the new state and the step repeated.
 * So kept settings cost no question, and no right outlives the policy that gave it.
 */
import type { CallOptions } from '../../../base/call.ts';
import type {
  Answer,
  BucketState,
  ExpectsBucket,
  Meta,
  Origin,
  VersionName,
} from '../../../meta/protocol.ts';
import type { ObjectEngine, OpenedObject } from '../../object/engine.ts';
import { replicationMatches } from '../replication-config.ts';
import type { BucketSettings, SettingsSource } from './bucket-settings.ts';

/** Judgements of one step while the bucket keeps changing under it. */
const ATTEMPTS_MAX = 10;

/** Throws AccessDenied, or whatever else the request deserves, for these settings. */
type Judge = (settings: BucketSettings) => void | Promise<void>;

/** The buckets that one request was judged by, and how to judge it again. */
export class Guard {
  readonly #source: SettingsSource;
  readonly #judged = new Map<string, { settings: BucketSettings; judge: Judge }>();
  /** Who makes the request: for the events of buckets that have listeners. */
  origin: Origin | undefined;

  constructor(source: SettingsSource) {
    this.#source = source;
  }

  /** Judges the request by a bucket, and again whenever that has changed. */
  async admit(settings: BucketSettings, judge: Judge): Promise<void> {
    await judge(settings);
    this.#judged.set(settings.bucket.name, { settings, judge });
  }

  /** Judges the request by one thing more, now and whenever it is judged again. */
  async also(bucket: string, judge: Judge): Promise<void> {
    const judged = this.#judged.get(bucket);
    if (judged === undefined) return;
    await judge(judged.settings);
    const first = judged.judge;
    this.#judged.set(bucket, {
      settings: judged.settings,
      async judge(settings) {
        await first(settings);
        await judge(settings);
      },
    });
  }

  settings(bucket: string): BucketSettings | undefined {
    return this.#judged.get(bucket)?.settings;
  }

  state(bucket: string): BucketState | undefined {
    return this.#judged.get(bucket)?.settings.state;
  }

  /** What a command in the bucket says of its origin; nothing where nobody listens. */
  originIn(bucket: string): Origin | undefined {
    const settings = this.settings(bucket);
    if (this.origin === undefined || settings === undefined) return undefined;
    const { configs } = settings.bucket;
    if (configs.includes('replication')) {
      return { ...this.origin, replicate: replicationMatches(settings) };
    }
    const told = configs.includes('notification') || this.origin.cause === 'replica';
    return told ? this.origin : undefined;
  }

  /** `call` with the state of the bucket, as often as it is refused with BucketChanged. */
  async run<T>(
    bucket: string,
    call: (expect: BucketState | undefined) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    for (let attempt = 1; ; attempt++) {
      const judged = this.#judged.get(bucket);
      const answer = await call(judged?.settings.state);
      if (answer.ok || judged === undefined) return answer;
      if (answer.refusal === 'NoSuchBucket') this.#source.forget(bucket);
      if (answer.refusal !== 'BucketChanged' || attempt === ATTEMPTS_MAX) return answer;
      const reloaded = await this.#source.reload(bucket);
      if (!reloaded.ok) return reloaded;
      await this.admit(reloaded.value, judged.judge);
    }
  }
}

/** Everything about one bucket; `setBucketConfig` and its like change the state themselves. */
const GUARDED = [
  'getBucket',
  'deleteBucket',
  'bucketUsage',
  'putObject',
  'getObject',
  'copyObject',
  'deleteObject',
  'deleteObjects',
  'listObjects',
  'createUpload',
  'getUpload',
  'putPart',
  'listParts',
  'listUploads',
  'completeUpload',
  'abortUpload',
  'setVersioning',
  'listVersions',
  'setObjectTags',
  'setObjectLock',
  'renameObject',
  'appendObject',
  'setBucketConfig',
  'getBucketConfig',
  'setObjectExtras',
] as const satisfies readonly (keyof Meta)[];

/** Those that make events. */
const EVENTFUL: ReadonlySet<string> = new Set<keyof Meta>([
  'putObject',
  'copyObject',
  'deleteObject',
  'deleteObjects',
  'completeUpload',
  'setObjectTags',
]);

type Scoped = { bucket: string } & ExpectsBucket;
type Call = (command: Scoped, options?: CallOptions) => Promise<Answer<unknown>>;

/** One method for all requests: what differs is the guard. */
type Methods = Record<
  string,
  (this: GuardedMeta, command: Scoped, options?: CallOptions) => unknown
>;

class GuardedMeta {
  readonly meta: Meta;
  readonly guard: Guard;

  constructor(meta: Meta, guard: Guard) {
    this.meta = meta;
    this.guard = guard;
  }
}

const methods = GuardedMeta.prototype as unknown as Methods;
for (const name of GUARDED) {
  const eventful = EVENTFUL.has(name);
  methods[name] = function guarded(command, options) {
    const call = this.meta[name] as unknown as Call;
    return this.guard.run(command.bucket, (expect) => {
      if (expect === undefined) return call(command, options);
      const origin = eventful ? this.guard.originIn(command.bucket) : undefined;
      return call(origin ? { ...command, expect, origin } : { ...command, expect }, options);
    });
  };
}
const PLAIN = [
  'createBucket',
  'listBuckets',
  'readParts',
  'reportReplicas',
  'getBucketSettings',
] as const;
for (const name of PLAIN) {
  methods[name] = function plain(command, options) {
    return (this.meta[name] as unknown as Call)(command, options);
  };
}

/** What operations get to see of the metadata service. */
export type RequestMeta = Pick<Meta, (typeof GUARDED)[number] | (typeof PLAIN)[number]>;

export function guardMeta(meta: Meta, guard: Guard): RequestMeta {
  return new GuardedMeta(meta, guard) as unknown as RequestMeta;
}

/** What operations get to see of the object engine. */
export type RequestObjects = Pick<ObjectEngine, 'store' | 'writer' | 'open'>;

export class GuardedObjects implements RequestObjects {
  readonly #objects: ObjectEngine;
  readonly #guard: Guard;

  constructor(objects: ObjectEngine, guard: Guard) {
    this.#objects = objects;
    this.#guard = guard;
  }

  store: ObjectEngine['store'] = (body, commit, options) =>
    this.#objects.store(body, commit, options);

  writer(): number {
    return this.#objects.writer();
  }

  open(query: VersionName, options?: { signal?: AbortSignal }): Promise<Answer<OpenedObject>> {
    return this.#guard.run(query.bucket, (expect) =>
      this.#objects.open(expect === undefined ? query : { ...query, expect }, options),
    );
  }
}
