/**
 * Has a bucket's present objects replicated: those that were there before the rules, and those that
 * failed. Only the current version of each key: an older one would become the newest there. May be
 * stopped and begun again at any time; what is done already is passed over.
 */
import type { Clock } from '../../base/clock.ts';
import { Failure } from '../../base/failure.ts';
import type { Answer, FoundObject, Meta } from '../../meta/protocol.ts';
import {
  parseReplication,
  REPLICATION_CONFIG,
  type ReplicationConfig,
  rulesFor,
} from '../s3/replication-config.ts';

export interface ResyncOptions {
  meta: Meta;
  clock: Clock;
  bucket: string;
  /** Those that are COMPLETED, too: the destination is new, or has lost something. */
  all: boolean;
  /** After every page. */
  progress(done: ResyncProgress): void;
}

export interface ResyncProgress {
  /** Objects looked at, those queued for replication, and those that wait already. */
  seen: number;
  queued: number;
  waiting: number;
}

const CONCURRENCY = 32;
const PAGE = 1000;
/** How long to wait when the backlog is full. */
const FULL_MS = 1000;

/** Throws Failure `not-found` for a bucket that is not there or has no rules. */
export async function resyncBucket(options: ResyncOptions): Promise<ResyncProgress> {
  const { meta, bucket } = options;
  const found = taken(await meta.getBucketConfig({ bucket, name: REPLICATION_CONFIG }), bucket);
  if (found.value === undefined) {
    throw new Failure('not-found', `the bucket ${bucket} has no replication configuration`);
  }
  const config = parseReplication(found.value);
  const { owner } = found.bucket;
  const rules = config.rules.filter(({ existing }) => existing !== false);
  const done: ResyncProgress = { seen: 0, queued: 0, waiting: 0 };
  let after: string | undefined;
  do {
    const query = { bucket, prefix: '', after, limit: PAGE };
    const page = taken(await meta.listObjects(query), bucket);
    const keys = page.objects.map(({ key }) => key);
    const work = async (): Promise<void> => {
      for (let key = keys.shift(); key !== undefined; key = keys.shift()) {
        done.seen++;
        const what = await queue(options, { ...config, rules, owner }, key);
        if (what !== undefined) done[what]++;
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
    options.progress(done);
    after = page.next;
  } while (after !== undefined);
  return done;
}

/** What is to be replicated, and whose the bucket is: others' objects stay. */
interface Rules extends ReplicationConfig {
  owner: string;
}

async function queue(
  { meta, clock, bucket, all }: ResyncOptions,
  config: Rules,
  key: string,
): Promise<'queued' | 'waiting' | undefined> {
  const answer = await meta.getObject({ bucket, key });
  if (!answer.ok) return undefined;
  const { object } = answer.value;
  const { replication, version } = object;
  if (replication === 'REPLICA' || (replication === 'COMPLETED' && !all)) return undefined;
  if (replication === 'PENDING') return 'waiting';
  if (!isWanted(config, key, object)) return undefined;
  for (;;) {
    const set = await meta.setReplication({ bucket, key, version, status: 'PENDING' });
    const { changed, full } = taken(set, bucket);
    if (full !== true) return changed ? 'queued' : undefined;
    await clock.sleep(FULL_MS);
  }
}

function isWanted(
  config: Rules,
  key: string,
  { encryption, owner, tags }: FoundObject['object'],
): boolean {
  const rules = rulesFor(config, key, tags ?? []);
  if (owner !== config.owner || encryption?.algorithm === 'customer') return false;
  const kms = encryption?.algorithm.startsWith('aws:kms') === true;
  return rules.some((rule) => !kms || rule.kms === true);
}

function taken<T>(answer: Answer<T>, bucket: string): T {
  if (answer.ok) return answer.value;
  if (answer.refusal === 'NoSuchBucket') {
    throw new Failure('not-found', `there is no bucket ${bucket}`);
  }
  throw new Failure('unavailable', `${bucket}: ${answer.refusal}`);
}
