/**
 * What must be readable: one writer per key, so the order of its requests is known. A request
 * without an answer leaves two legal states until the next acknowledged one; everything else is a
 * lost write, a resurrected delete or wrong bytes.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededBytes } from './files.ts';
import type { SignedClient } from './http.ts';

/** A content's SHA-256 in hex, or 'absent'. */
type State = string;
const ABSENT: State = 'absent';

export interface LedgerCounts {
  acknowledged: number;
  unknown: number;
  verified: number;
}

export interface Ledger {
  counts: LedgerCounts;
  /** One random step (put, overwrite or delete) on one of the worker's keys. */
  step(worker: number, round: number): Promise<void>;
  /** Reads every key until it answers; returns what is wrong, in words. */
  verify(): Promise<string[]>;
}

export interface LedgerOptions {
  client: SignedClient;
  bucket: string;
  workers: number;
  keysPerWorker: number;
  /** Sizes in bytes, used in turn. */
  sizes: readonly number[];
  seed: string;
}

const hash = (bytes: Uint8Array): State => createHash('sha256').update(bytes).digest('hex');

export function createLedger(options: LedgerOptions): Ledger {
  const states = new Map<string, Set<State>>();
  const counts: LedgerCounts = { acknowledged: 0, unknown: 0, verified: 0 };
  const random = seededBytes(options.seed, 65_536);

  const write = async (key: string, body: Buffer | undefined): Promise<void> => {
    const before = states.get(key) ?? new Set([ABSENT]);
    const wish = body === undefined ? ABSENT : hash(body);
    states.set(key, new Set([...before, wish]));
    try {
      const answer = await options.client.send({
        method: body === undefined ? 'DELETE' : 'PUT',
        path: `/${options.bucket}/${key}`,
        ...(body === undefined ? {} : { body }),
      });
      if (answer.status === 200 || answer.status === 204) {
        states.set(key, new Set([wish]));
        counts.acknowledged++;
        return;
      }
      if (answer.status < 500) {
        throw new Error(`unexpected ${answer.status}: ${answer.body.toString('utf8')}`);
      }
      counts.unknown++;
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('unexpected')) throw error;
      counts.unknown++;
    }
    // No answer: old and new are both legal. A pause, so that an outage is not a busy loop.
    await sleep(25);
  };

  const read = async (key: string): Promise<State> => {
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await options.client.send({
          method: 'GET',
          path: `/${options.bucket}/${key}`,
        });
        if (answer.status === 200) return hash(answer.body);
        if (answer.status === 404) return ABSENT;
        if (attempt > 200) return `HTTP ${answer.status}`;
      } catch (error) {
        if (attempt > 200) return String(error);
      }
      await sleep(50);
    }
  };

  return {
    counts,
    async step(worker, round) {
      const dice = random[(worker * 7919 + round * 104_729) % random.length] ?? 0;
      const key = `w${worker}/k${dice % options.keysPerWorker}`;
      const size = options.sizes[(dice + round) % options.sizes.length] ?? 0;
      const remove = dice > 200;
      await write(key, remove ? undefined : seededBytes(`${options.seed}/${key}/${round}`, size));
    },
    async verify() {
      const wrong: string[] = [];
      const keys = [...states.keys()];
      const check = async (): Promise<void> => {
        for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
          const legal = states.get(key) ?? new Set();
          const found = await read(key);
          counts.verified++;
          if (!legal.has(found))
            wrong.push(`${key}: found ${found}, legal: ${[...legal].join(', ')}`);
          // What was read once is settled: it must not change by itself later.
          else states.set(key, new Set([found]));
        }
      };
      await Promise.all(Array.from({ length: 8 }, check));
      return wrong;
    },
  };
}
