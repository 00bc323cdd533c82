/**
 * Clients: what S3 operations do with the object engine and the metadata service, on few keys so
 * that they meet. Every answer goes into the history; bytes are compared at once.
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { type Failure, isFailure, toFailure } from '../../base/failure.ts';
import type { OpenedObject, StoredBody } from '../../gateway/object/engine.ts';
import type {
  Answer,
  NewObject,
  ObjectEncryption,
  Tag,
  WriteCondition,
  Written,
} from '../../meta/protocol.ts';
import { BLOCK_SIZE, type RunningGateway, type SimCluster } from './cluster.ts';
import type { Condition, History } from './history.ts';
import type { OpenRead } from './oracle.ts';
import type { SeededRandom } from './random.ts';
import type { KnownVersion, Versions } from './versions.ts';

export const BUCKET = 'bucket';
export const OWNER = 'ab'.repeat(32);
/** Objects with this tag are removed by the lifecycle job, in buckets with rules. */
export const EXPIRES: Tag[] = [{ key: 'expires', value: 'yes' }];
/** Share of the objects that get it. */
const EXPIRING = 0.25;
/** A client gives a request up after this long. */
const PATIENCE_MS = 60_000;

/** Failures after which nothing has happened and nothing will. */
const CERTAIN = ['unavailable', 'fenced', 'invalid', 'full', 'unauthenticated'] as const;

export type Result<T> =
  | { kind: 'answer'; value: T; at: number }
  | { kind: 'failed'; failure: Failure }
  /** The gateway died, or never answered. */
  | { kind: 'lost' };

export interface ClientCounts {
  attempts: number;
  answered: number;
  failed: number;
  lost: number;
}

export interface Weights {
  put: number;
  get: number;
  range: number;
  remove: number;
  removeMany: number;
  copy: number;
  list: number;
  conditional: number;
  multipart: number;
  /** Of buckets with versioning. */
  version: number;
  removeVersion: number;
  listVersions: number;
  versioning: number;
}

export class Client {
  readonly counts: ClientCounts = { attempts: 0, answered: 0, failed: 0, lost: 0 };
  readonly #cluster: SimCluster;
  readonly #history: History;
  readonly #random: SeededRandom;
  readonly #keys: readonly string[];
  readonly #name: string;
  readonly #versions: Versions;
  /** Undefined: the bucket has no lifecycle rules. */
  readonly #expiring: SeededRandom | undefined;

  constructor(options: {
    cluster: SimCluster;
    history: History;
    versions: Versions;
    random: SeededRandom;
    keys: readonly string[];
    name: string;
    expiring: SeededRandom | undefined;
  }) {
    this.#expiring = options.expiring;
    this.#cluster = options.cluster;
    this.#history = options.history;
    this.#versions = options.versions;
    this.#random = options.random;
    this.#keys = options.keys;
    this.#name = options.name;
  }

  /** `operations` operations one after another, with pauses. */
  async work(operations: number, weights: Weights, thinkMs: [number, number]): Promise<void> {
    for (let done = 0; done < operations; done++) {
      await this.#cluster.sleep(this.#random.skewed(...thinkMs));
      const gateway = this.#random.pick(this.#cluster.gateways).now;
      if (gateway === undefined) continue;
      await this.#one(gateway, this.#choose(weights));
    }
  }

  #choose(weights: Weights): keyof Weights {
    const entries = Object.entries(weights) as [keyof Weights, number][];
    let at = this.#random.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return 'get';
  }

  async #one(gateway: RunningGateway, operation: keyof Weights): Promise<void> {
    const key = this.#random.pick(this.#keys);
    switch (operation) {
      case 'put':
        return void (await this.put(gateway, key, {}));
      case 'get':
        return void (await this.get(gateway, key));
      case 'range':
        return void (await this.get(gateway, key, true));
      case 'remove':
        return await this.#remove(gateway, key);
      case 'removeMany':
        return await this.#removeMany(gateway);
      case 'copy':
        return await this.#copy(gateway, key, this.#random.pick(this.#keys));
      case 'list':
        return void (await this.list(gateway, 1 + this.#random.int(3)));
      case 'conditional':
        return await this.#conditional(gateway, key);
      case 'multipart':
        return await this.#multipart(gateway, key);
      case 'version':
        return void (await this.getVersion(gateway));
      case 'removeVersion':
        return await this.#removeVersion(gateway);
      case 'listVersions':
        return await this.#listVersions(gateway, 1 + this.#random.int(6));
      case 'versioning':
        return await this.#setVersioning(gateway);
    }
  }

  /** Runs a request in a gateway; the outcome as its client sees it. */
  async via<T>(
    gateway: RunningGateway,
    what: string,
    work: (gateway: RunningGateway) => Promise<T>,
  ): Promise<Result<T>> {
    const { life, died } = gateway;
    const { scheduler } = this.#cluster;
    this.counts.attempts++;
    this.#cluster.trace(`+ ${this.#name} ${what} at ${life.process.name}`);
    const outcome = await new Promise<Result<T>>((resolve) => {
      const lost = () => resolve({ kind: 'lost' });
      const timer = scheduler.at(PATIENCE_MS, `${this.#name} gives up`, lost);
      void died.then(lost);
      const settle = (result: Result<T>) => {
        timer.cancel();
        if (life.alive) resolve(result);
      };
      life.enter(() => {
        work(gateway).then(
          (value) => settle({ kind: 'answer', value, at: scheduler.now }),
          (error: unknown) => settle({ kind: 'failed', failure: toFailure(error) }),
        );
      });
    });
    if (outcome.kind === 'answer') this.counts.answered++;
    else this.counts[outcome.kind]++;
    const text =
      outcome.kind === 'failed' ? `${outcome.failure.kind}: ${outcome.failure.message}` : '';
    this.#cluster.trace(`- ${this.#name} ${what}: ${outcome.kind} ${text}`);
    if (outcome.kind === 'failed' && outcome.failure.kind === 'internal') {
      this.#cluster.oracle.violation(
        `${what} failed: ${outcome.failure.stack} ${causeOf(outcome.failure)}`,
      );
    }
    return outcome;
  }

  /* ---------------------------------------------------------------- writes */

  /** True: acknowledged. */
  async put(gateway: RunningGateway, key: string, condition: Condition): Promise<boolean> {
    const id = this.#newValue(this.#sizeOfBody());
    const { content, etag } = this.#valueOf(id);
    const tags = this.#expiring?.chance(EXPIRING) === true ? EXPIRES : undefined;
    const call = this.#cluster.scheduler.now;
    const result = await this.via(gateway, `put ${key} ${id} ${textOf(condition)}`, ({ running }) =>
      running.engine.store(
        this.#body(gateway, content),
        (stored) =>
          running.engine.meta.putObject({
            writer: stored.writer,
            bucket: BUCKET,
            key,
            object: { ...objectOf(id, etag, stored), ...(tags && { tags }), ...sealing(id).record },
            condition: conditionOf(condition),
            missing: stored.missing,
          }),
        sealing(id).options,
      ),
    );
    this.#recordWrite(result, key, call, id, condition);
    if (tags !== undefined) this.#history.mayExpire(key, call, id);
    return result.kind === 'answer' && result.value.ok;
  }

  #recordWrite(
    result: Result<Answer<Written>>,
    key: string,
    call: number,
    id: string,
    condition: Condition,
  ): void {
    if (result.kind === 'answer') {
      const { value, at } = result;
      if (value.ok) {
        this.#history.wrote(key, call, at, id, condition);
        this.#versions.wrote(key, value.value.versionId, id, call, at);
      } else this.#recordRefusal(value.refusal, key, call, at, condition);
    } else if (result.kind === 'lost' || !isFailure(result.failure, ...CERTAIN)) {
      this.#history.maybeWrote(key, call, id, condition);
    }
  }

  #recordRefusal(refusal: string, key: string, call: number, at: number, condition: Condition) {
    if (refusal === 'PreconditionFailed') this.#history.refused(key, call, at, condition, false);
    else if (refusal === 'NoSuchKey') this.#history.refused(key, call, at, condition, true);
    else if (refusal !== 'OperationAborted' && refusal !== 'ConditionalRequestConflict') {
      this.#cluster.oracle.violation(`a write of ${key} was refused with ${refusal}`);
    }
  }

  async #conditional(gateway: RunningGateway, key: string): Promise<void> {
    const ids = [...this.#history.values.keys()];
    const id = ids[ids.length - 1 - this.#random.int(Math.min(ids.length, 6))];
    const etag = id === undefined ? '*' : this.#valueOf(id).etag;
    const condition = this.#random.pick<Condition>([
      { ifNoneMatch: '*' },
      { ifNoneMatch: '*' },
      { ifMatch: etag },
      { ifMatch: '*' },
    ]);
    await this.put(gateway, key, condition);
  }

  async #remove(gateway: RunningGateway, key: string): Promise<void> {
    const condition: Condition = this.#random.chance(0.2) ? { ifMatch: '*' } : {};
    const call = this.#cluster.scheduler.now;
    const result = await this.via(gateway, `delete ${key}`, ({ running }) =>
      running.engine.meta.deleteObject({ bucket: BUCKET, key, condition: conditionOf(condition) }),
    );
    this.#recordDelete(result, key, call, condition);
  }

  #recordDelete(
    result: Result<Answer<{ existed: boolean }>>,
    key: string,
    call: number,
    condition: Condition,
  ): void {
    if (result.kind === 'answer') {
      const { value, at } = result;
      if (value.ok) this.#history.deleted(key, call, at, value.value.existed, condition);
      else this.#recordRefusal(value.refusal, key, call, at, condition);
    } else if (result.kind === 'lost' || !isFailure(result.failure, ...CERTAIN)) {
      this.#history.maybeDeleted(key, call, condition);
    }
  }

  async #removeMany(gateway: RunningGateway): Promise<void> {
    const keys = this.#keys.filter(() => this.#random.chance(0.5));
    const call = this.#cluster.scheduler.now;
    const result = await this.via(gateway, `delete ${keys.join(' ')}`, ({ running }) =>
      running.engine.meta.deleteObjects({ bucket: BUCKET, keys: keys.map((key) => ({ key })) }),
    );
    for (const [index, key] of keys.entries()) {
      if (result.kind !== 'answer') this.#recordDelete(result, key, call, {});
      else if (!result.value.ok) {
        this.#recordRefusal(result.value.refusal, key, call, result.at, {});
      } else {
        const value = result.value.value[index];
        if (value !== undefined) this.#recordDelete({ ...result, value }, key, call, {});
      }
    }
  }

  async #copy(gateway: RunningGateway, from: string, to: string): Promise<void> {
    const start = this.#cluster.scheduler.now;
    const found = await this.via(gateway, `look at ${from}`, ({ running }) =>
      running.engine.meta.getObject({ bucket: BUCKET, key: from }),
    );
    if (found.kind !== 'answer') return;
    if (!found.value.ok) return this.#history.read(from, start, found.at, null);
    const { object } = found.value.value;
    const source = object.user['v'] ?? '';
    this.#history.read(from, start, found.at, source);
    const id = this.#history.newId();
    this.#history.values.set(id, this.#valueOf(source));
    const call = this.#cluster.scheduler.now;
    const result = await this.via(gateway, `copy ${from} to ${to} as ${id}`, async ({ running }) =>
      running.engine.meta.copyObject({
        writer: running.engine.writer(),
        source: { bucket: BUCKET, key: from, version: object.version },
        bucket: BUCKET,
        key: to,
        owner: OWNER,
        metadata: { system: {}, user: { v: id } },
      }),
    );
    // Tags are copied, too.
    if (object.tags !== undefined) this.#history.mayExpire(to, call, id);
    if (result.kind === 'answer') {
      if (result.value.ok) {
        const { versionId } = result.value.value;
        // With versions the source may be an older one by now, which is still the one that was read.
        if (versionId === undefined) this.#history.read(from, call, result.at, source);
        this.#history.wrote(to, call, result.at, id, {});
        this.#versions.wrote(to, versionId, id, call, result.at);
      } else if (result.value.refusal !== 'SourceChanged') {
        this.#recordRefusal(result.value.refusal, to, call, result.at, {});
      }
    } else if (result.kind === 'lost' || !isFailure(result.failure, ...CERTAIN)) {
      this.#history.maybeWrote(to, call, id, {});
    }
  }

  /** One to three parts, some of them replaced, beside others that are left out; sometimes given up. */
  async #multipart(gateway: RunningGateway, key: string): Promise<void> {
    const id = this.#newValue(3 + this.#random.int(2 * BLOCK_SIZE));
    const { content } = this.#valueOf(id);
    const place = { bucket: BUCKET, key };
    const made = await this.via(gateway, `start upload ${key} ${id}`, ({ running }) =>
      running.engine.meta.createUpload({
        ...place,
        owner: OWNER,
        system: {},
        user: { v: id },
        ...sealing(id).record,
      }),
    );
    if (made.kind !== 'answer' || !made.value.ok) return;
    const { uploadId } = made.value.value;
    const name = { ...place, uploadId };
    const used = [1, 2, 3, 4].filter(() => this.#random.chance(0.5));
    if (used.length === 0) used.push(1 + this.#random.int(4));
    const parts: { number: number; etag: string }[] = [];
    for (let number = 1; number <= 4; number++) {
      const at = used.indexOf(number);
      // A part that is replaced, or left out.
      if (this.#random.chance(0.2)) {
        const other = Buffer.from(`not used ${id} ${number}`);
        await this.#part(gateway, { ...name, number, id }, md5(other.toString()), other);
      }
      if (at < 0) continue;
      const cut = (index: number) => Math.floor((content.length * index) / used.length);
      const etag = md5(`part ${id} ${number}`);
      const bytes = content.subarray(cut(at), cut(at + 1));
      if (!(await this.#part(gateway, { ...name, number, id }, etag, bytes))) return;
      parts.push({ number, etag });
    }
    if (this.#random.chance(0.15)) {
      await this.via(gateway, `abort ${id}`, ({ meta }) => meta.abortUpload(name));
      return;
    }
    const digests = Buffer.from(parts.map(({ etag }) => etag).join(''), 'hex');
    const etag = `${createHash('md5').update(digests).digest('hex')}-${parts.length}`;
    this.#history.values.set(id, { content, etag });
    await this.#complete(key, id, () => ({ ...name, parts }));
  }

  async #part(
    gateway: RunningGateway,
    { id, ...name }: { bucket: string; key: string; uploadId: string; number: number; id: string },
    etag: string,
    bytes: Buffer,
  ): Promise<boolean> {
    const result = await this.via(gateway, `part ${name.number} of ${name.key}`, ({ running }) =>
      running.engine.store(
        this.#body(gateway, bytes),
        (stored) =>
          running.engine.meta.putPart({
            ...name,
            writer: stored.writer,
            size: stored.size,
            etag,
            data: stored.data.kind === 'none' ? stored.data : { ...stored.data, kind: 'fresh' },
            missing: stored.missing,
          }),
        sealing(id).options,
      ),
    );
    return result.kind === 'answer' && result.value.ok;
  }

  /** Completes, and repeats it when the answer was lost: that must be harmless. */
  async #complete(
    key: string,
    id: string,
    command: () => Parameters<RunningGateway['meta']['completeUpload']>[0],
  ): Promise<void> {
    const call = this.#cluster.scheduler.now;
    let certain = true;
    for (let attempt = 0; attempt < 3; attempt++) {
      const gateway = this.#random.pick(this.#cluster.gateways).now;
      if (gateway === undefined) break;
      const result = await this.via(gateway, `complete ${key} ${id}`, ({ meta }) =>
        meta.completeUpload(command()),
      );
      if (result.kind === 'answer') {
        if (result.value.ok) {
          this.#versions.wrote(key, result.value.value.versionId, id, call, result.at);
          return this.#history.wrote(key, call, result.at, id, {});
        }
        if (attempt === 0) return;
        break;
      }
      if (result.kind === 'lost' || !isFailure(result.failure, ...CERTAIN)) certain = false;
      await this.#cluster.sleep(this.#random.skewed(10, 2000));
    }
    if (!certain) this.#history.maybeWrote(key, call, id, {});
  }

  /* ---------------------------------------------------------------- reads */

  /** True: read to its end, or found nothing. */
  async get(gateway: RunningGateway, key: string, ranged = false): Promise<boolean> {
    const call = this.#cluster.scheduler.now;
    const result = await this.via(gateway, `get ${key}`, async ({ running }) => {
      const writer = running.engine.writer();
      const opened = await running.engine.open({ bucket: BUCKET, key });
      const at = this.#cluster.scheduler.now;
      if (!opened.ok) {
        if (opened.refusal === 'NoSuchKey') this.#history.read(key, call, at, null);
        return true;
      }
      const id = opened.value.object.user['v'] ?? '';
      this.#history.read(key, call, at, id);
      return await this.#readOpened(gateway, { key, opened: opened.value, writer, id, at }, ranged);
    });
    return result.kind === 'answer';
  }

  async #readOpened(
    gateway: RunningGateway,
    read: { key: string; opened: OpenedObject; writer: number; id: string; at: number },
    ranged: boolean,
  ): Promise<boolean> {
    const { key, opened, writer, id, at } = read;
    const { oracle } = this.#cluster;
    const holds = blobsOf(opened).map((blob) => ({ blob, writer, since: at }) as OpenRead);
    const forget = () => {
      for (const hold of holds) oracle.reads.delete(hold);
    };
    for (const hold of holds) oracle.reads.add(hold);
    gateway.life.onEnd(forget);
    try {
      await this.#readBody(gateway, opened, id, ranged);
      return true;
    } catch (error) {
      this.#judgeFailedRead(error, holds, key, id);
      throw error;
    } finally {
      forget();
      opened.close();
    }
  }

  async #readBody(
    gateway: RunningGateway,
    opened: OpenedObject,
    id: string,
    ranged: boolean,
  ): Promise<void> {
    const { content } = this.#valueOf(id);
    const { encryption } = opened.object;
    if (encryption !== undefined) opened.unlock(dataKeyOf(encryption.wrappedKey.toString()));
    const start = ranged ? this.#random.int(content.length) : 0;
    const end = ranged ? start + 1 + this.#random.int(content.length - start) : content.length;
    const slow = this.#random.chance(0.3);
    const chunks: Buffer[] = [];
    for await (const chunk of opened.read({ start, end })) {
      chunks.push(chunk);
      if (slow) await this.#pause(gateway, this.#random.skewed(1, 3000));
    }
    const wanted = content.subarray(start, end);
    if (!Buffer.concat(chunks).equals(wanted)) {
      this.#cluster.oracle.violation(`a read of ${id} (${start}–${end}) returned other bytes`);
    }
  }

  /**
   * A read may fail while nodes cannot be reached. Nodes that all answer that they have no good copy
   * of what is referred to, or of what this read protects: data was lost.
   */
  #judgeFailedRead(error: unknown, holds: readonly OpenRead[], key: string, id: string): void {
    if (!isFailure(error, 'corrupt')) return;
    const { oracle } = this.#cluster;
    if (holds.every(({ blob }) => oracle.isLive(blob))) {
      oracle.violation(`${key} (${id}) is lost: ${error.message}`);
    } else if (holds.every(({ writer }) => oracle.leaseStands(writer))) {
      oracle.violation(`${key} (${id}) went away under a running read: ${error.message}`);
    }
  }

  /** The whole bucket in pages of `limit`; true: it was answered to its end. */
  async list(gateway: RunningGateway, limit: number): Promise<boolean> {
    let after: string | undefined;
    for (;;) {
      const call = this.#cluster.scheduler.now;
      const query = { bucket: BUCKET, prefix: '', after, limit };
      const result = await this.via(gateway, `list from ${after ?? 'the start'}`, ({ meta }) =>
        meta.listObjects(query),
      );
      if (result.kind !== 'answer' || !result.value.ok) return false;
      const { objects, next } = result.value.value;
      const listed = new Map(objects.map(({ key, etag }) => [key, etag]));
      for (const key of listed.keys()) {
        if (this.#keys.includes(key)) continue;
        this.#cluster.oracle.violation(`a listing shows ${key}, which nobody wrote`);
      }
      for (const key of this.#keys) {
        const covered = (after === undefined || key > after) && (next === undefined || key <= next);
        if (covered) this.#history.sawEtag(key, call, result.at, listed.get(key));
      }
      if (next === undefined) return true;
      after = next;
    }
  }

  /* ---------------------------------------------------------------- versions */

  /** Reads a version that was acknowledged, or one that is gone. True: an answer came. */
  async getVersion(gateway: RunningGateway, version?: KnownVersion): Promise<boolean> {
    const { standing, gone } = this.#versions;
    const known = [...standing, ...gone.slice(-3)];
    if (version === undefined && known.length === 0) return true;
    const one = version ?? this.#random.pick(known);
    const { key, versionId, id } = one;
    const wasGone = typeof one.fate === 'object';
    const result = await this.via(gateway, `get ${key} ${versionId}`, async ({ running }) => {
      const writer = running.engine.writer();
      const opened = await running.engine.open({ bucket: BUCKET, key, versionId });
      const at = this.#cluster.scheduler.now;
      if (!opened.ok) {
        if (one.fate === 'stands') {
          this.#cluster.oracle.violation(`${key} ${versionId} is refused with ${opened.refusal}`);
        }
        return true;
      }
      if (wasGone) this.#cluster.oracle.violation(`${key} ${versionId} is there again`);
      const found = opened.value.object.user['v'] ?? '';
      if (found !== id) {
        this.#cluster.oracle.violation(`${key} ${versionId} holds ${found} instead of ${id}`);
      }
      return await this.#readOpened(gateway, { key, opened: opened.value, writer, id, at }, false);
    });
    return result.kind === 'answer';
  }

  /** Deletes for good a version that is certainly not current. */
  async #removeVersion(gateway: RunningGateway): Promise<void> {
    const { superseded } = this.#versions;
    if (superseded.length === 0) return;
    const one = this.#random.pick(superseded);
    const { key, versionId } = one;
    one.fate = 'doomed';
    const result = await this.via(gateway, `delete ${key} ${versionId}`, ({ meta }) =>
      meta.deleteObject({ bucket: BUCKET, key, versionId }),
    );
    if (result.kind !== 'answer') return;
    if (!result.value.ok) {
      this.#cluster.oracle.violation(`deleting ${versionId} was refused: ${result.value.refusal}`);
    } else one.fate = { gone: result.at };
  }

  /** All versions in pages: those that stand are there, those that are gone are not. */
  async #listVersions(gateway: RunningGateway, limit: number): Promise<void> {
    const call = this.#cluster.scheduler.now;
    const before = this.#versions.standing;
    const listed = new Set<string>();
    let after: { keyMarker?: string; versionIdMarker?: string | undefined } = {};
    for (;;) {
      const query = { bucket: BUCKET, prefix: '', limit, ...after };
      const result = await this.via(gateway, 'list versions', ({ meta }) =>
        meta.listVersions(query),
      );
      if (result.kind !== 'answer' || !result.value.ok) return;
      const { versions, next } = result.value.value;
      for (const { key, versionId } of versions) listed.add(`${key} ${versionId}`);
      if (next === undefined) break;
      after = { keyMarker: next.key, versionIdMarker: next.versionId };
    }
    for (const { key, versionId, fate } of before) {
      if (fate !== 'stands' || listed.has(`${key} ${versionId}`)) continue;
      this.#cluster.oracle.violation(`a listing does not show ${key} ${versionId}`);
    }
    for (const { key, versionId, fate } of this.#versions.gone) {
      const gone = typeof fate === 'object' && fate.gone < call;
      if (!gone || !listed.has(`${key} ${versionId}`)) continue;
      this.#cluster.oracle.violation(`a listing shows ${key} ${versionId}, which is gone`);
    }
  }

  async #setVersioning(gateway: RunningGateway): Promise<void> {
    const versioning = this.#random.pick(['Enabled', 'Enabled', 'Suspended'] as const);
    await this.via(gateway, `versioning ${versioning}`, ({ meta }) =>
      meta.setVersioning({ bucket: BUCKET, versioning }),
    );
  }

  /* ---------------------------------------------------------------- content */

  /** The client takes its time; the gateway goes on when it can. */
  #pause({ life }: RunningGateway, ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#cluster.scheduler.at(ms, `${this.#name} dawdles`, () => life.enter(resolve));
    });
  }

  #sizeOfBody(): number {
    const random = this.#random;
    if (random.chance(0.1)) return 0;
    if (random.chance(0.5)) return 1 + random.int(200);
    return random.int(3 * BLOCK_SIZE + 2);
  }

  #newValue(size: number): string {
    const id = this.#history.newId();
    const content = Buffer.alloc(size, `${id}.`);
    for (let at = 0; at + 8 < size; at += BLOCK_SIZE) content.writeUInt32LE(at, at);
    this.#history.values.set(id, { content, etag: md5(id) });
    return id;
  }

  #valueOf(id: string): { content: Buffer; etag: string } {
    const value = this.#history.values.get(id);
    if (value !== undefined) return value;
    this.#cluster.oracle.violation(`there is a value that nobody wrote: ${id}`);
    return { content: Buffer.alloc(0), etag: '' };
  }

  /** A body that arrives in pieces, sometimes slowly. */
  async *#body(gateway: RunningGateway, content: Buffer): AsyncGenerator<Uint8Array> {
    const pieces = 1 + this.#random.int(3);
    const slow = this.#random.chance(0.2);
    for (let piece = 0; piece < pieces; piece++) {
      if (slow) await this.#pause(gateway, this.#random.skewed(1, 2000));
      const from = Math.floor((content.length * piece) / pieces);
      const to = Math.floor((content.length * (piece + 1)) / pieces);
      if (to > from) yield Buffer.from(content.subarray(from, to));
    }
  }
}

/**
 * Half of all values are encrypted, whichever these are. The data key is not wrapped but named: by the
 * value that it was made for, which a copy of it does not have.
 */
function sealing(id: string): {
  record: { encryption?: ObjectEncryption };
  options: { dataKey?: KeyObject };
} {
  if ((createHash('md5').update(id).digest()[0] ?? 0) % 2 === 0) return { record: {}, options: {} };
  const encryption = { algorithm: 'AES256' as const, wrappedKey: Buffer.from(id), keyId: 'm' };
  return { record: { encryption }, options: { dataKey: dataKeyOf(id) } };
}

function dataKeyOf(id: string): KeyObject {
  return createSecretKey(createHash('sha256').update(id).digest());
}

function objectOf(id: string, etag: string, { size, data }: StoredBody): NewObject {
  return { size, etag, owner: OWNER, data, system: {}, user: { v: id } };
}

function blobsOf({ object, parts }: OpenedObject): string[] {
  if (object.data.kind === 'blob') return [object.data.blob];
  return (parts ?? []).flatMap(({ data }) => (data === undefined ? [] : [data.blob]));
}

function conditionOf(condition: Condition): WriteCondition | undefined {
  return Object.keys(condition).length === 0 ? undefined : condition;
}

function textOf({ ifMatch, ifNoneMatch }: Condition): string {
  if (ifNoneMatch !== undefined) return 'if there is none';
  return ifMatch === undefined ? '' : `if it is ${ifMatch}`;
}

function causeOf(failure: Failure): string {
  return failure.cause instanceof Error ? String(failure.cause.stack) : '';
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}
