/**
 * A few keys with conditional writes: what each client asked and saw, and whether one order of events
 * explains it. Keys are retired before the search for that order becomes expensive.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { checkLinearizable, type Operation, type State } from '../simulation/linearizable.ts';
import { SeededRandom } from '../simulation/random.ts';
import type { HttpAnswer, SignedClient } from '../support/http.ts';

/** Keys in use at any time. */
const KEYS = 3;
/** Limits per key: what the checker decides in milliseconds. */
const OPERATIONS_MAX = 60;
const UNKNOWN_MAX = 6;
const SIZES = [24, 5000, 200_000];

export interface Entry {
  client: number;
  op: 'put' | 'get' | 'delete';
  key: string;
  /** Written or read; null: there was nothing. */
  value: State;
  /** The value that If-Match named; '*' stands for If-None-Match: *. */
  condition: string | undefined;
  /** Milliseconds of one monotonic clock. */
  call: number;
  return: number;
  outcome: 'ok' | 'refused' | 'missing' | 'unknown';
}

export interface HistoryCounts {
  operations: number;
  keys: number;
  unknown: number;
  undecided: number;
}

export interface HistoryLoad {
  counts: HistoryCounts;
  /** One operation of `client` on one of the keys. */
  step(client: number): Promise<void>;
  /** Reads every key once more, checks everything recorded since the last time; what is wrong. */
  verify(): Promise<string[]>;
}

const contentOf = (value: string): Buffer =>
  Buffer.alloc(SIZES[Number(value.slice(1)) % SIZES.length] ?? 24, `${value}\n`);

/** The value in a body; wrong bytes are a value that nobody has written. */
function valueOf(body: Buffer): string {
  const value = body.subarray(0, Math.max(0, body.indexOf('\n'))).toString('latin1');
  return contentOf(value).equals(body) ? value : `wrong bytes (${value})`;
}

function holds(condition: string | undefined, state: State): boolean {
  if (condition === undefined) return true;
  return condition === '*' ? state === null : state === condition;
}

/** What an entry says about the state of its key. */
export function toOperation(entry: Entry): Operation {
  const { op, value, condition, outcome } = entry;
  const step = (state: State): State | undefined => {
    if (outcome === 'missing') return state === null ? state : undefined;
    if (outcome === 'refused') return holds(condition, state) ? undefined : state;
    if (op === 'get') return state === value ? state : undefined;
    return holds(condition, state) ? value : undefined;
  };
  const unknown = outcome === 'unknown';
  return {
    call: entry.call,
    return: unknown ? Number.POSITIVE_INFINITY : entry.return,
    optional: unknown,
    step,
    text: JSON.stringify(entry),
  };
}

export interface HistoryOptions {
  client: SignedClient;
  bucket: string;
  seed: number;
}

export function createHistoryLoad({ client, bucket, seed }: HistoryOptions): HistoryLoad {
  const counts: HistoryCounts = { operations: 0, keys: 0, unknown: 0, undecided: 0 };
  const entries = new Map<string, Entry[]>();
  const active: string[] = [];
  const etags = new Map<string, string>();
  /** Per key: the value that was seen last by anyone. */
  const seen = new Map<string, State>();
  const randoms = new Map<number, SeededRandom>();
  let values = 0;

  const newKey = (slot: number): string => {
    counts.keys++;
    const key = `history/${slot}-${counts.keys}`;
    active[slot] = key;
    entries.set(key, []);
    return key;
  };
  const keyAt = (slot: number): string => {
    const key = active[slot] ?? newKey(slot);
    const list = entries.get(key) ?? [];
    const unknown = list.filter(({ outcome }) => outcome === 'unknown').length;
    return list.length < OPERATIONS_MAX && unknown < UNKNOWN_MAX ? key : newKey(slot);
  };

  const run = async (id: number, key: string, kind: Entry['op'], condition?: string) => {
    const value = kind === 'put' ? `v${++values}` : null;
    const entry: Entry = {
      client: id,
      op: kind,
      key,
      value,
      condition,
      call: performance.now(),
      return: Number.POSITIVE_INFINITY,
      outcome: 'unknown',
    };
    let answer: HttpAnswer | undefined;
    try {
      answer = await client.send({
        method: kind.toUpperCase(),
        path: `/${bucket}/${key}`,
        headers: headersFor(condition, etags),
        ...(value === null ? {} : { body: contentOf(value) }),
      });
    } catch {
      // Nobody knows whether it has happened.
    }
    entry.return = performance.now();
    if (!judge(entry, answer)) return;
    if (entry.outcome === 'unknown') counts.unknown++;
    const etag = answer?.headers['etag'];
    if (entry.outcome === 'ok' && entry.value !== null && typeof etag === 'string') {
      etags.set(entry.value, etag);
    }
    if (entry.outcome === 'ok') seen.set(key, entry.value);
    counts.operations++;
    entries.get(key)?.push(entry);
  };

  return {
    counts,
    async step(id) {
      const random = randoms.get(id) ?? new SeededRandom(seed, `client ${id}`);
      randoms.set(id, random);
      const key = keyAt(random.int(KEYS));
      const dice = random.int(100);
      const last = seen.get(key) ?? null;
      if (dice < 35) await run(id, key, 'get');
      else if (dice < 65 && last !== null && etags.has(last)) await run(id, key, 'put', last);
      else if (dice < 80) await run(id, key, 'put', '*');
      else if (dice < 90) await run(id, key, 'put');
      else await run(id, key, 'delete');
      await sleep(random.int(30));
    },
    async verify() {
      active.length = 0;
      for (const key of entries.keys()) await run(0, key, 'get');
      const wrong: string[] = [];
      for (const [key, list] of entries) {
        const verdict = checkLinearizable(list.map(toOperation));
        if (verdict === 'undecided') counts.undecided++;
        if (verdict === 'violation') {
          const lines = list.map((entry) => JSON.stringify(entry)).join('\n');
          wrong.push(`no order explains what was seen of ${key}:\n${lines}`);
        }
      }
      entries.clear();
      etags.clear();
      seen.clear();
      return wrong;
    },
  };
}

function headersFor(
  condition: string | undefined,
  etags: ReadonlyMap<string, string>,
): Record<string, string> {
  if (condition === undefined) return {};
  return condition === '*'
    ? { 'if-none-match': '*' }
    : { 'if-match': etags.get(condition) ?? '"unknown"' };
}

/** Fills in the outcome; false: the operation says nothing about the key, and is not recorded. */
function judge(entry: Entry, answer: HttpAnswer | undefined): boolean {
  const status = answer?.status ?? 599;
  // A read without an answer shows nothing; 409 says that the write has not happened, nothing else.
  if (status >= 500) return entry.op !== 'get';
  if (status === 409) return false;
  if (status === 412) entry.outcome = 'refused';
  else if (status === 404) entry.outcome = entry.op === 'get' ? 'ok' : 'missing';
  else if (status === 200 || status === 204) {
    entry.outcome = 'ok';
    if (entry.op === 'get' && answer !== undefined) entry.value = valueOf(answer.body);
  } else throw new Error(`unexpected ${status}: ${answer?.body.toString('utf8')}`);
  return true;
}
