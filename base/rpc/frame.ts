/**
 * The frame format of the internal RPC, as a pure codec: bytes in, frames out, no sockets.
 *
 * ```
 * offset bytes
 *      0     3  magic "ASH"
 *      3     1  version (1)
 *      4     1  kind (FRAME_KINDS)
 *      5     1  reserved, 0
 *      6     2  method
 *      8     4  request id
 *     12     4  M: meta length
 *     16     4  P: payload length
 *     20     4  time-out in milliseconds, 0: none
 *     24     8  XXH64 of the payload
 *     32     M  meta (MessagePack; nothing at all for `undefined`)
 *   32+M     8  XXH64 of the 32+M bytes before
 *   40+M     P  payload, raw
 * ```
 * All numbers are little endian. Nothing of a frame is believed before the hash over head and meta
 * is checked, except the two lengths, which are held against the limits first. XXH64 finds faults,
 * not forgeries: who may speak at all is decided in `handshake.ts`.
 */
import { Packr, Unpackr } from 'msgpackr';
import { payloadBuffers } from '../buffer-pool.ts';
import { HASH_OF_NOTHING, hashBytes } from '../checksum.ts';
import { Failure } from '../failure.ts';
import type { RpcLimits, RpcMeta } from './rpc.ts';

const FRAME_HEAD_BYTES = 32;
const FRAME_HASH_BYTES = 8;

const MAGIC_AND_VERSION = 0x01_48_53_41; // "ASH" then 1, read as a little-endian u32.

export type FrameKind = 'request' | 'response' | 'failure' | 'cancel' | 'ping' | 'pong';

const FRAME_KINDS: Record<FrameKind, number> = {
  request: 1,
  response: 2,
  failure: 3,
  cancel: 4,
  ping: 5,
  pong: 6,
};
const KIND_NAMES: readonly (FrameKind | undefined)[] = [
  undefined,
  ...(Object.keys(FRAME_KINDS) as FrameKind[]),
];

/** What stands in a frame's head, apart from the lengths. */
export interface FrameHead {
  kind: FrameKind;
  /** 0 … 65,535. */
  method: number;
  /** u32, chosen by the caller; 0 for ping and pong. */
  id: number;
  /** How long the caller waits, in milliseconds; 0: for ever. */
  timeoutMs: number;
}

/** A frame as it arrived. */
export interface Frame extends FrameHead {
  meta: RpcMeta;
  /** In a buffer of its own; undefined when empty. */
  payload: Buffer | undefined;
  /** As the sender stated it; verified exactly when `intact`. */
  payloadHash: bigint;
  /** False: the payload does not match its hash. Head and meta are right all the same. */
  intact: boolean;
}

/* ------------------------------------------------------------------ encoding */

// Plain maps, no records: both sides stay independent of what was sent before. Byte strings are
// copied out, so that a small one does not keep the whole socket chunk alive.
const packer = new Packr({ useRecords: false });
const unpacker = new Unpackr({ useRecords: false, copyBuffers: true });
const NO_BYTES: Buffer = Buffer.alloc(0);

/**
 * A meta value as MessagePack. Numbers stay numbers (any size), bigints (64 bit) stay bigints, byte
 * strings arrive as Buffer. Throws Failure `invalid` when it cannot be encoded or is over the limit.
 */
export function encodeMeta(meta: RpcMeta, limits: RpcLimits): Uint8Array {
  if (meta === undefined) return NO_BYTES;
  let bytes: Uint8Array;
  try {
    bytes = packer.pack(meta);
  } catch (error) {
    throw new Failure('invalid', 'the meta value cannot be encoded', { cause: error });
  }
  if (bytes.length > limits.metaBytesMax) {
    throw new Failure('invalid', `meta of ${bytes.length} bytes is over ${limits.metaBytesMax}`);
  }
  return bytes;
}

/** Bytes of a frame before its payload. */
export function framePrefixBytes(metaBytes: number): number {
  return FRAME_HEAD_BYTES + metaBytes + FRAME_HASH_BYTES;
}

/**
 * Writes everything of a frame that precedes its payload to `target` at `at` and returns where the
 * payload follows. `payloadHash` is the XXH64 of the payload's `payloadBytes` bytes.
 */
export function writeFramePrefix(
  target: Buffer,
  at: number,
  head: FrameHead,
  meta: Uint8Array,
  payloadBytes: number,
  payloadHash: bigint,
): number {
  target.writeUInt32LE(MAGIC_AND_VERSION, at);
  target[at + 4] = FRAME_KINDS[head.kind];
  target[at + 5] = 0;
  target.writeUInt16LE(head.method, at + 6);
  target.writeUInt32LE(head.id, at + 8);
  target.writeUInt32LE(meta.length, at + 12);
  target.writeUInt32LE(payloadBytes, at + 16);
  target.writeUInt32LE(head.timeoutMs, at + 20);
  target.writeBigUInt64LE(payloadHash, at + 24);
  target.set(meta, at + FRAME_HEAD_BYTES);
  const end = at + FRAME_HEAD_BYTES + meta.length;
  target.writeBigUInt64LE(hashBytes(target.subarray(at, end)), end);
  return end + FRAME_HASH_BYTES;
}

/* ------------------------------------------------------------------ decoding */

interface Prefix extends FrameHead {
  meta: RpcMeta;
  payloadBytes: number;
  payloadHash: bigint;
}

/**
 * Puts frames together from a byte stream cut anywhere. Every payload byte is copied exactly once,
 * into a buffer that belongs to this payload alone, so socket chunks are free after `push`. Memory
 * is set aside only for lengths within the limits, and for a payload only after head and meta are
 * verified.
 */
export class FrameDecoder {
  readonly #limits: RpcLimits;
  /** The beginning of a frame whose prefix is not complete yet. */
  #partial: Buffer = NO_BYTES;
  #partialBytes = 0;
  /** The frame whose payload is arriving, and how much of that has. */
  #prefix: Prefix | undefined;
  #payload: Buffer = NO_BYTES;
  #payloadBytes = 0;

  constructor(limits: RpcLimits) {
    this.#limits = limits;
  }

  /**
   * Takes the next bytes and hands each completed frame to `sink`, in order. Throws Failure
   * `corrupt` (hash of head and meta) or `invalid` (not our protocol, over a limit, meta that is no
   * MessagePack): the place of the next frame is unknown then, and the connection has to end.
   */
  push(chunk: Buffer, sink: (frame: Frame) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#prefix !== undefined) {
        at = this.#takePayload(this.#prefix, chunk, at, sink);
      } else if (this.#partialBytes > 0) {
        at = this.#takePartial(chunk, at, sink);
      } else {
        const bytes = this.#prefixBytes(chunk, at, chunk.length);
        if (bytes === undefined || at + bytes > chunk.length) at = this.#keepPartial(chunk, at);
        else at = this.#takePrefix(chunk, at, at + bytes, sink);
      }
    }
  }

  /** Length of the prefix that begins at `at`, or undefined while its head is not all there. */
  #prefixBytes(bytes: Buffer, at: number, end: number): number | undefined {
    if (end - at < FRAME_HEAD_BYTES) return undefined;
    if (bytes.readUInt32LE(at) !== MAGIC_AND_VERSION) {
      throw new Failure('invalid', 'not a frame of this protocol version');
    }
    const meta = bytes.readUInt32LE(at + 12);
    const payload = bytes.readUInt32LE(at + 16);
    if (meta > this.#limits.metaBytesMax || payload > this.#limits.payloadBytesMax) {
      throw new Failure('invalid', `a frame of ${meta} + ${payload} bytes is over the limits`);
    }
    return framePrefixBytes(meta);
  }

  #keepPartial(chunk: Buffer, at: number): number {
    this.#partial = Buffer.allocUnsafeSlow(
      this.#prefixBytes(chunk, at, chunk.length) ?? FRAME_HEAD_BYTES,
    );
    this.#partialBytes = chunk.copy(this.#partial, 0, at);
    return chunk.length;
  }

  #takePartial(chunk: Buffer, at: number, sink: (frame: Frame) => void): number {
    const taken = chunk.copy(this.#partial, this.#partialBytes, at);
    this.#partialBytes += taken;
    const end = at + taken;
    if (this.#partialBytes < this.#partial.length) return end;
    const bytes = this.#prefixBytes(this.#partial, 0, this.#partialBytes) ?? FRAME_HEAD_BYTES;
    const head = this.#partial;
    if (bytes > head.length) {
      this.#partial = Buffer.allocUnsafeSlow(bytes);
      head.copy(this.#partial);
      return end;
    }
    this.#partial = NO_BYTES;
    this.#partialBytes = 0;
    this.#takePrefix(head, 0, bytes, sink);
    return end;
  }

  /** Verifies and reads a whole prefix; returns its end. */
  #takePrefix(bytes: Buffer, at: number, end: number, sink: (frame: Frame) => void): number {
    const metaEnd = end - FRAME_HASH_BYTES;
    if (hashBytes(bytes.subarray(at, metaEnd)) !== bytes.readBigUInt64LE(metaEnd)) {
      throw new Failure('corrupt', 'head and meta of a frame do not match their hash');
    }
    const kind = KIND_NAMES[bytes[at + 4] ?? 0];
    if (kind === undefined || bytes[at + 5] !== 0) {
      throw new Failure('invalid', `unknown kind of frame: ${bytes[at + 4]}`);
    }
    const prefix: Prefix = {
      kind,
      method: bytes.readUInt16LE(at + 6),
      id: bytes.readUInt32LE(at + 8),
      timeoutMs: bytes.readUInt32LE(at + 20),
      meta: decodeMeta(bytes, at + FRAME_HEAD_BYTES, metaEnd),
      payloadBytes: bytes.readUInt32LE(at + 16),
      payloadHash: bytes.readBigUInt64LE(at + 24),
    };
    if (prefix.payloadBytes === 0) {
      sink(frameOf(prefix, undefined, prefix.payloadHash === HASH_OF_NOTHING));
    } else {
      this.#prefix = prefix;
      // Belongs to the receiver, who may recycle it.
      this.#payload = payloadBuffers.take(prefix.payloadBytes);
      this.#payloadBytes = 0;
    }
    return end;
  }

  #takePayload(prefix: Prefix, chunk: Buffer, at: number, sink: (frame: Frame) => void): number {
    const taken = chunk.copy(this.#payload, this.#payloadBytes, at);
    this.#payloadBytes += taken;
    if (this.#payloadBytes === this.#payload.length) {
      const payload = this.#payload;
      this.#prefix = undefined;
      this.#payload = NO_BYTES;
      sink(frameOf(prefix, payload, hashBytes(payload) === prefix.payloadHash));
    }
    return at + taken;
  }
}

function frameOf(prefix: Prefix, payload: Buffer | undefined, intact: boolean): Frame {
  const { kind, method, id, timeoutMs, meta, payloadHash } = prefix;
  return { kind, method, id, timeoutMs, meta, payload, payloadHash, intact };
}

function decodeMeta(bytes: Buffer, start: number, end: number): RpcMeta {
  if (start === end) return undefined;
  try {
    return unpacker.unpack(bytes.subarray(start, end));
  } catch (error) {
    // Also a RangeError of the stack, for a value nested without end.
    throw new Failure('invalid', 'the meta of a frame is not MessagePack', { cause: error });
  }
}
