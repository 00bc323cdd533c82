/** What the tests of this room share. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { hashBytes } from '../base/checksum.ts';
import { systemClock } from '../base/clock.ts';
import { type FailureKind, isFailure } from '../base/failure.ts';
import { makeBlobId } from '../base/ids.ts';
import type { Log } from '../base/log.ts';
import { openEnvironment } from './block-store.ts';
import { createMemoryEnvironment } from './memory-environment.ts';
import type { BlockContent, BlockKey } from './protocol.ts';
import { type BlockStore, type BlockStoreOptions, createBlockStore } from './store.ts';

export const MAP_SIZE_BYTES = 2 ** 32;

export function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-node-'));
  context.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
  return folder;
}

type Overrides = Partial<BlockStoreOptions>;

const plentyOfSpace = () => ({ capacityBytes: 2 ** 40, freeBytes: 2 ** 39 });

/** A store whose death is a test's failure, unless the test passes its own `die`. */
export function storeOver(
  environment: BlockStoreOptions['environment'],
  overrides: Overrides = {},
): BlockStore {
  return createBlockStore({
    environment,
    clock: systemClock,
    disk: plentyOfSpace,
    watchdogMs: 60_000,
    warmBytes: 2 ** 26,
    die: (reason, cause) => {
      throw new Error(`the store died: ${reason}`, { cause });
    },
    ...overrides,
  });
}

export function lmdbStore(folder: string, overrides: Overrides = {}): BlockStore {
  return storeOver(openEnvironment({ folder, mapSizeBytes: MAP_SIZE_BYTES }), overrides);
}

export function memoryStore(overrides: Overrides = {}): BlockStore {
  return storeOver(createMemoryEnvironment(), overrides);
}

export function contentOf(bytes: Uint8Array): BlockContent {
  return { bytes, hash: hashBytes(bytes) };
}

/** `length` bytes that differ from those of every other `seed`. */
export function bytesOf(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed + 1) * 2_654_435_761;
  for (let at = 0; at < length; at++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + at;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Lengths on both sides of the limit between the two tables. */
export function lengthOf(index: number): number {
  return 1 + ((index * 7919) % 40_000);
}

export function keyOf(index: number, group = 7, writer = 3): BlockKey {
  return { group, blob: makeBlobId(writer, index), index: 0 };
}

export const CHILD_SCRIPT = fileURLToPath(import.meta.resolve('./test-support-child.ts'));

/** Runs a job of `test-support-child.ts`; killed when the test ends. */
export function childJob(context: TestContext, ...args: string[]): ChildProcess {
  const child = spawn(process.execPath, [CHILD_SCRIPT, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  context.after(() => child.kill('SIGKILL'));
  return child;
}

/** Kills as a power switch would, and waits for the end. */
export async function killChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** A log that keeps its messages. */
export function recordingLog(): { log: Log; messages: string[] } {
  const messages: string[] = [];
  const keep = (_fields: object, message: string): void => {
    messages.push(message);
  };
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep, child: () => log };
  return { log, messages };
}

/** For `assert.rejects`: a Failure of this kind. */
export function kind(...kinds: FailureKind[]): (error: unknown) => boolean {
  return (error) => isFailure(error, ...kinds);
}
