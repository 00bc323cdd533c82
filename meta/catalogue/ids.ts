/**
 * The identifiers that the catalogue makes: commit stamps, versions, uploads, part lists and queue
 * entries. Unique without asking the store; ordered by time where that is said.
 */
import type { Effects } from '../../base/clock.ts';
import { STAMP_BYTES } from '../engine/kv.ts';

const POOL_BYTES = 4096;
const MS_MAX = 2 ** 48 - 1;
const COUNTER_MAX = 0xffff;

export interface Ids {
  /** Names this run of the process: 12 hex digits. */
  readonly boot: string;
  nowMs(): number;
  /** 16 bytes, unique: time (48 bits) ‖ boot ‖ counter. Sorts by `timeMs`, then by call. */
  stamp(timeMs: number): Buffer;
  /** Fresh random bytes. */
  random(length: number): Buffer;
  /** 44 hex digits: 48 bits of time, which never steps back here, and 128 random bits. */
  uploadId(timeMs: number): string;
}

export function createIds({ clock, random }: Effects): Ids {
  const bootBytes = random.bytes(6);
  let pool: Buffer = Buffer.alloc(0);
  let used = 0;
  let counter = 0;
  let uploadMs = 0;
  const take = (length: number): Buffer => {
    // One call for many ids: each is a system call otherwise.
    if (used + length > pool.length) {
      pool = random.bytes(Math.max(POOL_BYTES, length));
      used = 0;
    }
    used += length;
    return pool.subarray(used - length, used);
  };
  return {
    boot: bootBytes.toString('hex'),
    nowMs: () => Math.floor(clock.now()),
    stamp(timeMs) {
      const out = Buffer.allocUnsafe(STAMP_BYTES);
      out.writeUIntBE(timeMs, 0, 6);
      bootBytes.copy(out, 6);
      out.writeUInt32BE(counter, 12);
      counter = (counter + 1) >>> 0;
      return out;
    },
    random: take,
    uploadId(timeMs) {
      uploadMs = Math.max(uploadMs, timeMs);
      const out = Buffer.allocUnsafe(22);
      out.writeUIntBE(uploadMs, 0, 6);
      take(16).copy(out, 6);
      return out.toString('hex');
    },
  };
}

/**
 * The next version id of a key: inverted time ‖ inverted counter ‖ random, so that the newest sorts
 * first. Follows the previous version of the key even when the clock stepped back.
 */
export function nextVersion(
  previous: string | undefined,
  modifiedMs: number,
  random: Buffer,
): string {
  let time = modifiedMs;
  let counter = 0;
  if (previous !== undefined) {
    const before = Buffer.from(previous, 'hex');
    const beforeTime = MS_MAX - before.readUIntBE(0, 6);
    const beforeCounter = COUNTER_MAX - before.readUInt16BE(6);
    if (beforeTime >= time) {
      time = beforeCounter === COUNTER_MAX ? beforeTime + 1 : beforeTime;
      counter = beforeCounter === COUNTER_MAX ? 0 : beforeCounter + 1;
    }
  }
  const out = Buffer.allocUnsafe(16);
  out.writeUIntBE(MS_MAX - time, 0, 6);
  out.writeUInt16BE(COUNTER_MAX - counter, 6);
  random.copy(out, 8, 0, 8);
  return out.toString('hex');
}
