/**
 * The metadata service and the object engine as one request sees them: whatever it asks or changes
 * in a bucket happens in the state of the bucket by which the request was judged, or not at all. When
 * the bucket has changed since, the request is judged again by the new state and the step repeated.
 * So kept settings cost no question, and no right outlives the policy that gave it.
 *
 * What depends on an object (its owner, its ACL, its tags) is judged on the very record that is read;
 * a step that changes one is made in exactly the state of the record that was judged.
 */
import type { CallOptions } from '../../../base/call.ts';
import { assert } from '../../../base/failure.ts';
import type {
  Answer,
  BucketState,
  ExpectsBucket,
  Meta,
  ObjectRecord,
  ObjectState,
  Origin,
  Upload,
  UploadName,
  VersionName,
} from '../../../meta/protocol.ts';
import type { ObjectEngine, OpenedObject } from '../../object/engine.ts';
import { S3Error } from '../errors.ts';
import { refusalError } from '../refusal.ts';
import { replicationMatches } from '../replication-config.ts';
import type { BucketSettings, SettingsSource } from './bucket-settings.ts';

/** Judgements of one step while what it is about keeps changing under it. */
const ATTEMPTS_MAX = 100;

/** Judges a request by one bucket: each method throws AccessDenied or whatever else it deserves. */
export interface BucketJudge {
  /** By the settings alone, before anything is done; called again whenever they have changed. */
  judge(settings: BucketSettings): void | Promise<void>;
  /** Whether something must be judged on the object, or the upload, before it is used. */
  awaitsObject(key: string): boolean;
  awaitsUpload(key: string): boolean;
  /** Undefined: there is none, or a delete marker. */
  object(settings: BucketSettings, key: string, object: ObjectRecord | undefined): void;
  upload(settings: BucketSettings, key: string, upload: Upload | undefined): void;
  /** Whether everything has been judged that another step may depend on. */
  settled(): boolean;
}

/** The buckets that one request was judged by, and how to judge it again. */
export class Guard {
  readonly #source: SettingsSource;
  readonly #judged = new Map<string, { settings: BucketSettings; judge: BucketJudge }>();
  readonly #watches = new Map<string, (settings: BucketSettings) => void>();
  /** Who makes the request: for the events of buckets that have listeners. */
  origin: Origin | undefined;

  constructor(source: SettingsSource) {
    this.#source = source;
  }

  /**
   * Judges the request by a bucket, and again whenever that has changed. What allows a step is held
   * against the bucket by the step itself; a refusal has no step, so it is made sure of here that it
   * does not rest on settings that are out of date.
   */
  async admit(settings: BucketSettings, judge: BucketJudge): Promise<void> {
    try {
      await this.#admitBy(settings, judge);
    } catch (error) {
      if (!(error instanceof S3Error)) throw error;
      const { name, id, revision } = settings.bucket;
      const stored = await this.#source.reload(name);
      if (!stored.ok) throw refusalError(stored, { bucket: name });
      const { state } = stored.value;
      if (state.id === id && state.revision === revision) throw error;
      await this.#admitBy(stored.value, judge);
    }
  }

  async #admitBy(settings: BucketSettings, judge: BucketJudge): Promise<void> {
    const verdict = judge.judge(settings);
    if (verdict !== undefined) await verdict;
    this.#judged.set(settings.bucket.name, { settings, judge });
  }

  /**
   * Asks `check` before a step is repeated in a bucket that has changed; what it throws ends the step,
   * which has not happened then. One per bucket, the last one counts.
   */
  watch(bucket: string, check: (settings: BucketSettings) => void): void {
    this.#watches.set(bucket, check);
  }

  /** The bucket has changed: what is kept of it is of no more use. */
  forget(bucket: string): void {
    this.#source.forget(bucket);
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
      this.#watches.get(bucket)?.(reloaded.value);
    }
  }

  /** Reads an object by `read` and judges what depends on it on what was read. */
  readObject<T>(
    { bucket, key }: VersionName,
    read: (expect: BucketState | undefined) => Promise<Answer<T>>,
    recordOf: (value: T) => ObjectRecord,
    denied?: (value: T) => void,
  ): Promise<Answer<T>> {
    return this.run(bucket, async (expect) => {
      const answer = await read(expect);
      const judged = this.#judged.get(bucket);
      if (judged === undefined) return answer;
      const { settings, judge } = judged;
      if (!answer.ok) {
        if (tellsAbsence(answer)) judge.object(settings, key, undefined);
        return answer;
      }
      try {
        judge.object(settings, key, recordOf(answer.value));
      } catch (error) {
        denied?.(answer.value);
        throw error;
      }
      return answer;
    });
  }

  /** Changes an object, in the state in which it was judged when something depends on that. */
  changeObject<T>(
    meta: Meta,
    name: VersionName & { expectObject?: ObjectState | undefined },
    change: (
      expect: BucketState | undefined,
      expectObject: ObjectState | undefined,
    ) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    const { bucket, key, versionId, expectObject: wanted } = name;
    return this.run(bucket, async (expect) => {
      const judged = this.#judged.get(bucket);
      if (judged?.judge.awaitsObject(key) !== true) return change(expect, wanted);
      const { judge, settings } = judged;
      for (let attempt = 1; ; attempt++) {
        const found = await meta.getObject({ bucket, key, versionId, ...expecting(expect) });
        if (!found.ok && !tellsAbsence(found)) return found;
        const object = found.ok ? found.value.object : undefined;
        judge.object(settings, key, object);
        // What is not there is not changed either, should it come to be there.
        const state = object === undefined ? NOWHERE : stateOf(object);
        if (wanted !== undefined && !isSame(wanted, state)) {
          return { ok: false, refusal: 'ObjectChanged' };
        }
        const answer = await change(expect, state);
        const again = !answer.ok && answer.refusal === 'ObjectChanged' && attempt < ATTEMPTS_MAX;
        if (!again) return answer;
      }
    });
  }

  /** Goes on with an upload; what depends on it is judged before. */
  useUpload<T>(
    meta: Meta,
    { bucket, key, uploadId }: UploadName,
    use: (expect: BucketState | undefined) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    return this.run(bucket, async (expect) => {
      const judged = this.#judged.get(bucket);
      if (judged?.judge.awaitsUpload(key) === true) {
        // Who began it, and how, never changes: it may be read in a step of its own.
        const found = await meta.getUpload({ bucket, key, uploadId, ...expecting(expect) });
        if (!found.ok && found.refusal !== 'NoSuchUpload') return found;
        judged.judge.upload(judged.settings, key, found.ok ? found.value : undefined);
      }
      return use(expect);
    });
  }

  /** Any other step. That something is not judged yet would be a mistake of the operation's. */
  step<T>(
    bucket: string,
    call: (expect: BucketState | undefined) => Promise<Answer<T>>,
  ): Promise<Answer<T>> {
    return this.run(bucket, (expect) => {
      const settled = this.#judged.get(bucket)?.judge.settled() ?? true;
      assert(settled, 'a request acts after everything about it has been judged');
      return call(expect);
    });
  }
}

function expecting(expect: BucketState | undefined): ExpectsBucket {
  return expect === undefined ? {} : { expect };
}

/** The state of no object. */
const NOWHERE: ObjectState = { version: '', revision: 0 };

function stateOf({ version, revision = 0 }: ObjectRecord): ObjectState {
  return { version, revision };
}

function isSame(one: ObjectState, other: ObjectState): boolean {
  return one.version === other.version && one.revision === other.revision;
}

function tellsAbsence({ refusal }: { refusal: string }): boolean {
  return refusal === 'NoSuchKey' || refusal === 'NoSuchVersion' || refusal === 'MethodNotAllowed';
}

/** Everything about one bucket; `setBucketConfig` and its like change the state themselves. */
const STEPS = [
  'getBucket',
  'deleteBucket',
  'bucketUsage',
  'putObject',
  'copyObject',
  'deleteObject',
  'deleteObjects',
  'listObjects',
  'createUpload',
  'listUploads',
  'setVersioning',
  'listVersions',
  'setObjectLock',
  'appendObject',
  'setBucketConfig',
  'getBucketConfig',
] as const satisfies readonly (keyof Meta)[];
const OF_UPLOADS = [
  'getUpload',
  'putPart',
  'listParts',
  'completeUpload',
  'abortUpload',
] as const satisfies readonly (keyof Meta)[];
const CHANGES = ['setObjectTags', 'setObjectExtras'] as const satisfies readonly (keyof Meta)[];

/** Those after which kept settings are out of date for certain: no later request needs to find out. */
const CHANGING: ReadonlySet<string> = new Set<keyof Meta>([
  'deleteBucket',
  'setBucketConfig',
  'setVersioning',
]);

/** Those that make events. */
const EVENTFUL: ReadonlySet<string> = new Set<keyof Meta>([
  'putObject',
  'copyObject',
  'deleteObject',
  'deleteObjects',
  'completeUpload',
  'setObjectTags',
  'setObjectExtras',
  'setObjectLock',
  'renameObject',
  'appendObject',
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

  /** The command with the state of the bucket, and with who makes it where somebody is to be told. */
  inState(name: keyof Meta, command: Scoped, expect: BucketState | undefined): Scoped {
    if (expect === undefined) return command;
    const origin = EVENTFUL.has(name) ? this.guard.originIn(command.bucket) : undefined;
    return origin === undefined ? { ...command, expect } : { ...command, expect, origin };
  }

  /** The object under the old key is read, so to speak, and gone afterwards. */
  renameObject(
    ...[command, options]: Parameters<Meta['renameObject']>
  ): ReturnType<Meta['renameObject']> {
    const { bucket, source } = command;
    return this.guard.changeObject(this.meta, { bucket, key: source }, (expect, expectObject) => {
      const state = expectObject === undefined ? {} : { expectObject };
      const judged = { ...this.inState('renameObject', command, expect), ...state };
      return this.meta.renameObject({ ...command, ...judged }, options);
    });
  }

  getObject(...[query, options]: Parameters<Meta['getObject']>): ReturnType<Meta['getObject']> {
    return this.guard.readObject(
      query,
      (expect) => this.meta.getObject({ ...query, ...expecting(expect) }, options),
      ({ object }) => object,
    );
  }
}

const methods = GuardedMeta.prototype as unknown as Methods;
for (const name of STEPS) {
  methods[name] = function step(command, options) {
    const { bucket, expect: named } = command;
    const call = (expect: BucketState | undefined) =>
      (this.meta[name] as unknown as Call)(this.inState(name, command, expect), options);
    // Whoever names the state himself also decides what happens when it has changed.
    const answer = named === undefined ? this.guard.step(bucket, call) : call(named);
    return CHANGING.has(name) ? answer.finally(() => this.guard.forget(bucket)) : answer;
  };
}
for (const name of OF_UPLOADS) {
  methods[name] = function ofUpload(command, options) {
    return this.guard.useUpload(this.meta, command as UploadName, (expect) =>
      (this.meta[name] as unknown as Call)(this.inState(name, command, expect), options),
    );
  };
}
for (const name of CHANGES) {
  methods[name] = function change(command, options) {
    return this.guard.changeObject(this.meta, command as VersionName, (expect, expectObject) => {
      const state = expectObject === undefined ? {} : { expectObject };
      const judged = { ...this.inState(name, command, expect), ...state };
      return (this.meta[name] as unknown as Call)(judged, options);
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
export type RequestMeta = Pick<
  Meta,
  | 'getObject'
  | 'renameObject'
  | (typeof STEPS)[number]
  | (typeof OF_UPLOADS)[number]
  | (typeof CHANGES)[number]
  | (typeof PLAIN)[number]
>;

export function guardMeta(meta: Meta, guard: Guard): RequestMeta {
  return new GuardedMeta(meta, guard) as unknown as RequestMeta;
}

/** What operations get to see of the object engine. */
export type RequestObjects = Pick<ObjectEngine, 'store' | 'reread' | 'writer' | 'open'>;

export class GuardedObjects implements RequestObjects {
  readonly #objects: ObjectEngine;
  readonly #guard: Guard;

  constructor(objects: ObjectEngine, guard: Guard) {
    this.#objects = objects;
    this.#guard = guard;
  }

  store: ObjectEngine['store'] = (body, commit, options) =>
    this.#objects.store(body, commit, options);

  reread: ObjectEngine['reread'] = (stored, dataKey) => this.#objects.reread(stored, dataKey);

  writer(): number {
    return this.#objects.writer();
  }

  open(query: VersionName, options?: { signal?: AbortSignal }): Promise<Answer<OpenedObject>> {
    return this.#guard.readObject(
      query,
      (expect) => this.#objects.open({ ...query, ...expecting(expect) }, options),
      ({ object }) => object,
      (opened) => opened.close(),
    );
  }
}
