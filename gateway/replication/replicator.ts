/**
 * Makes the replicas of a bucket's new versions. One gateway at a time works on a bucket, and what
 * happened to one key is replicated in that order, so that the newest version is the newest there, too.
 * What the other side refuses is FAILED after a few tries; what it cannot be asked stays PENDING.
 */
import { Failure, isFailure } from '../../base/failure.ts';
import {
  type Answer,
  type EventLease,
  type Meta,
  type ObjectRecord,
  PART_NUMBER_MAX,
  type ReplicationStatus,
  type StoredEvent,
} from '../../meta/protocol.ts';
import {
  createEventWorker,
  type EventWorker,
  type Outcome,
  type WorkerOptions,
} from '../events/worker.ts';
import { KeyError, type Keyring } from '../keys/protocol.ts';
import type { ObjectEngine, OpenedObject } from '../object/engine.ts';
import {
  parseReplication,
  REPLICATION_CONFIG,
  type ReplicationConfig,
  type ReplicationRule,
  rulesFor,
} from '../s3/replication-config.ts';
import type { TargetOwner } from '../s3/target-owner.ts';
import { type Destination, ReplicaError } from './destination.ts';
import type { Destinations } from './destinations.ts';

export interface ReplicatorOptions
  extends Pick<WorkerOptions, 'effects' | 'log' | 'leaseMs' | 'pollMs'> {
  meta: Meta;
  objects: Pick<ObjectEngine, 'open'>;
  keys: Pick<Keyring, 'unwrap'>;
  destinations: Destinations;
  /** Who a canonical id is. */
  ownerOf(id: string): Promise<TargetOwner>;
  /** Counts what became of a replica, and its bytes. */
  count(outcome: 'completed' | 'failed' | 'retried', bytes: number): void;
}

const PAGE = 50;
const CONCURRENCY = 8;
/** Tries of what the other side refuses. */
const REFUSALS_MAX = 4;

export function createReplicator(options: ReplicatorOptions): EventWorker {
  const { meta } = options;
  return createEventWorker({
    ...options,
    queue: 'replication',
    pageSize: PAGE,
    concurrency: CONCURRENCY,
    ordered: true,
    async prepare({ bucket, bucketId }: EventLease) {
      const answer = await meta.getBucketConfig({ bucket, name: REPLICATION_CONFIG });
      if (!answer.ok && answer.refusal !== 'NoSuchBucket') throw new Error(answer.refusal);
      if (!answer.ok || answer.value.bucket.id !== bucketId) return undefined;
      const { value, bucket: row } = answer.value;
      const { rules } = value === undefined ? { rules: [] } : parseReplication(value);
      const owner = await options.ownerOf(row.owner);
      return (event, leased) => replicate(options, event, { role: '', rules, owner, leased });
    },
  });
}

/** The rules of a bucket, and whose it is. */
interface Source extends ReplicationConfig {
  owner: TargetOwner;
  /** No other gateway is at work on the bucket. */
  leased: () => boolean;
}

/* ------------------------------------------------------------------ one event */

async function replicate(
  options: ReplicatorOptions,
  event: StoredEvent,
  config: Source,
): Promise<Outcome> {
  const { bucket, key, versionId } = event;
  const opened = await options.objects.open({ bucket, key, versionId });
  if (!opened.ok) return withoutObject(options, event, config, opened);
  const source = opened.value;
  try {
    const { object } = source;
    if (!isDue(event, object)) return { kind: 'done' };
    const rules = rulesFor(config, key, object.tags ?? []);
    // Only the client could read it.
    const closed = object.encryption?.algorithm === 'customer';
    if (rules.length === 0 || closed) return await conclude(options, event, 'FAILED', 0);
    if (object.encryption !== undefined) {
      source.unlock(await options.keys.unwrap(object.encryption, undefined));
    }
    const update = isUpdate(event);
    // Put there anew, an older version would be the newest one there.
    if (update && !(await isCurrent(options.meta, event))) {
      return await conclude(options, event, 'FAILED', 0);
    }
    const plan = { rules, owner: config.owner, bytes: object.size };
    return await toEach(options, event, plan, async (destination, place) => {
      if (update && (await destination.putDetails(place, key, object))) return;
      const storageClass = storageClassOf(rules, place);
      await putObject(destination, { bucket: place, key, storageClass }, source, config.leased);
    });
  } catch (error) {
    // Another gateway has the event now: it is left as it is.
    if (isFailure(error, 'cancelled')) return { kind: 'held', waitMs: 0 };
    if (!isFailure(error) && !(error instanceof KeyError)) throw error;
    options.log.warn(
      { bucket, key, versionId, error },
      'a version could not be read to replicate it',
    );
    return { kind: 'failed', problem: error.message, left: event.left };
  } finally {
    source.close();
  }
}

/**
 * Not what was replaced (a null version), replicated before, or is somebody else's replica. An update
 * counts whatever the status says: it may have come while the version was being replicated.
 */
function isDue(event: StoredEvent, { version, replication }: ObjectRecord): boolean {
  if (version !== event.version || replication === 'REPLICA') return false;
  return replication === 'PENDING' || isUpdate(event);
}

function isUpdate({ type }: StoredEvent): boolean {
  return type.startsWith('ObjectTagging:') || type.startsWith('ObjectAcl:');
}

function storageClassOf(rules: readonly ReplicationRule[], bucket: string): string | undefined {
  return rules.find(({ destination }) => destination.endsWith(`:${bucket}`))?.storageClass;
}

async function isCurrent(
  meta: Meta,
  { bucket, key, version }: Pick<StoredEvent, 'bucket' | 'key' | 'version'>,
): Promise<boolean> {
  const current = await meta.getObject({ bucket, key });
  return current.ok && current.value.object.version === version;
}

/** The version is gone, or is a delete marker. */
async function withoutObject(
  options: ReplicatorOptions,
  event: StoredEvent,
  config: Source,
  refused: Extract<Answer<OpenedObject>, { ok: false }>,
): Promise<Outcome> {
  const { bucket, key } = event;
  if (refused.refusal !== 'MethodNotAllowed') return { kind: 'done' };
  const rules = rulesFor(config, key, []).filter(({ deleteMarkers }) => deleteMarkers === true);
  const current = await options.meta.getObject({ bucket, key });
  // Something newer is on its way already.
  const newest = !current.ok && current.marker?.versionId === event.versionId;
  if (!newest || rules.length === 0) return conclude(options, event, 'COMPLETED', 0);
  const plan = { rules, owner: config.owner, bytes: 0 };
  return toEach(options, event, plan, (destination, place) => destination.putMarker(place, key));
}

async function putObject(
  destination: Destination,
  { bucket, key, storageClass }: { bucket: string; key: string; storageClass: string | undefined },
  source: OpenedObject,
  leased: () => boolean,
): Promise<void> {
  const { object } = source;
  const replica = { object, storageClass };
  if (object.data.kind !== 'parts') {
    await destination.putWhole(bucket, key, replica, whileLeased(source.read(), leased));
    return;
  }
  await destination.putParts(bucket, key, replica, partsOf(source, object, leased));
}

/**
 * Ends with Failure `cancelled` when another gateway may have taken the bucket over: what that one has
 * replicated since is newer, and must stay the newest there.
 */
async function* whileLeased(
  body: AsyncIterable<Uint8Array>,
  leased: () => boolean,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    refuseUnleased(leased);
    yield chunk;
  }
}

function refuseUnleased(leased: () => boolean): void {
  if (!leased()) throw new Failure('cancelled', 'another gateway may be at work on the bucket');
}

async function* partsOf(source: OpenedObject, object: ObjectRecord, leased: () => boolean) {
  const count = object.data.kind === 'parts' ? object.data.count : 0;
  // Parts may have any numbers.
  for (let number = 1, found = 0; found < count && number <= PART_NUMBER_MAX; number++) {
    const part = await source.part(number);
    if (part === undefined) continue;
    found++;
    const body = source.read({ start: part.offset, end: part.offset + part.size });
    yield { part, body: whileLeased(body, leased) };
  }
  // Before they are joined.
  refuseUnleased(leased);
}

/* ------------------------------------------------------------------ all destinations */

type Replicate = (destination: Destination, bucket: string) => Promise<void>;

/** Serves the destinations of the rules that are left, and says what came of it. */
async function toEach(
  options: ReplicatorOptions,
  event: StoredEvent,
  { rules, owner, bytes }: { rules: readonly ReplicationRule[]; owner: TargetOwner; bytes: number },
  work: Replicate,
): Promise<Outcome> {
  const left: string[] = [];
  let problem: string | undefined;
  let refused = false;
  let waitMs = 0;
  let served = 0;
  for (const rule of rules) {
    if (event.left?.includes(rule.destination) === false) continue;
    const found = options.destinations.find(rule.destination, rule.account, owner);
    if (found === undefined) {
      problem = `no replication target is for ${rule.destination}`;
      refused = true;
      left.push(rule.destination);
      continue;
    }
    const { circuit } = found.destination;
    const heldMs = circuit.enter();
    if (heldMs > 0) {
      waitMs = Math.max(waitMs, heldMs);
      left.push(rule.destination);
      continue;
    }
    try {
      await work(found.destination, found.bucket);
      circuit.succeeded();
      served++;
    } catch (error) {
      if (!(error instanceof ReplicaError)) {
        circuit.succeeded();
        throw error;
      }
      // Who refuses is there.
      if (error.refused) circuit.succeeded();
      else circuit.failed();
      problem = error.message;
      refused ||= error.refused;
      left.push(rule.destination);
    }
  }
  if (left.length === 0) return conclude(options, event, 'COMPLETED', bytes);
  if (problem === undefined && served === 0) return { kind: 'held', waitMs };
  if (refused && event.attempts + 1 >= REFUSALS_MAX) {
    const { bucket, key, versionId } = event;
    options.log.error(
      { bucket, key, versionId, problem },
      'the replication of a version has failed',
    );
    return conclude(options, event, 'FAILED', 0);
  }
  options.count('retried', 0);
  return { kind: 'failed', problem: problem ?? 'the target is left alone for a while', left };
}

async function conclude(
  { meta, count }: ReplicatorOptions,
  { bucket, key, version }: StoredEvent,
  status: ReplicationStatus,
  bytes: number,
): Promise<Outcome> {
  const answer = await meta.setReplication({ bucket, key, version, status });
  if (!answer.ok && answer.refusal !== 'NoSuchBucket') throw new Error(answer.refusal);
  count(status === 'COMPLETED' ? 'completed' : 'failed', bytes);
  return { kind: 'done' };
}
