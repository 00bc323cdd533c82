/** Bytes that rot on the disk of a node, in the contents of objects that are made for it. */
import { closeSync, fstatSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const CHUNK = 16 * 1024 * 1024;

/** Flips a bit at the beginning of every copy of the patterns in a file; how many. */
export function flipBytes(path: string, patterns: readonly Buffer[]): number {
  const longest = Math.max(...patterns.map(({ length }) => length));
  const file = openSync(path, 'r+');
  const places = new Set<number>();
  try {
    const chunk = Buffer.allocUnsafe(CHUNK);
    const { size } = fstatSync(file);
    for (let at = 0; at < size; at += CHUNK - longest) {
      const bytes = chunk.subarray(0, readSync(file, chunk, 0, CHUNK, at));
      for (const pattern of patterns) {
        for (let hit = bytes.indexOf(pattern); hit >= 0; hit = bytes.indexOf(pattern, hit + 1)) {
          places.add(at + hit);
        }
      }
    }
    const byte = Buffer.alloc(1);
    for (const place of places) {
      readSync(file, byte, 0, 1, place);
      byte[0] = (byte[0] ?? 0) ^ 0x40;
      writeSync(file, byte, 0, 1, place);
    }
  } finally {
    closeSync(file);
  }
  return places.size;
}

/** Waits until a process runs no more; its parent need not have noticed. */
export async function waitForEnd(pid: number): Promise<void> {
  for (;;) {
    try {
      const state = /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1];
      if (state === 'Z' || state === 'X') return;
    } catch {
      return;
    }
    await sleep(2);
  }
}
