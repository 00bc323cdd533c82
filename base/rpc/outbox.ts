/**
 * The sending side of a connection: frames written during one turn of the event loop leave in one
 * write. Small frames are copied next to each other; large payloads are sent from where they are.
 */
import type { Socket } from 'node:net';
import { payloadBuffers } from '../buffer-pool.ts';
import { HASH_OF_NOTHING, hashBytes } from '../checksum.ts';
import { Failure } from '../failure.ts';
import { encodeMeta, type FrameHead, framePrefixBytes, writeFramePrefix } from './frame.ts';
import type { RpcLimits, RpcMessage } from './rpc.ts';

/** Up to here a copy costs less than another buffer in the gathering write. */
const PAYLOAD_COPY_BYTES_MAX = 16 * 1024;
/** Holds the frames of most turns, so that they leave in one plain write. */
const SLAB_BYTES = 128 * 1024;

interface Piece {
  bytes: Uint8Array;
  /** The memory may be used again once the piece has left. */
  recycle: boolean;
}

export class Outbox {
  readonly #socket: Socket;
  readonly #limits: RpcLimits;
  /** Where small frames are gathered; `#start … #end` is not handed over yet. */
  #slab: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #pieces: Piece[] = [];
  #pieceBytes = 0;
  #scheduled = false;
  #finishing = false;

  constructor(socket: Socket, limits: RpcLimits) {
    this.#socket = socket;
    this.#limits = limits;
  }

  /** Bytes that the kernel has not taken yet. */
  get bufferedBytes(): number {
    return this.#socket.writableLength + this.#pieceBytes + (this.#end - this.#start);
  }

  /**
   * Queues a frame; it leaves at the end of this turn. The payload is read until then or later and
   * must not change. Throws Failure `invalid` (nothing is queued) for a message over the limits.
   */
  send(head: FrameHead, message: RpcMessage): void {
    const meta = encodeMeta(message.meta, this.#limits);
    const payload = message.payload;
    const payloadBytes = payload === undefined ? 0 : payload.length;
    if (payloadBytes > this.#limits.payloadBytesMax) {
      throw new Failure('invalid', `a payload of ${payloadBytes} bytes is over the limit`);
    }
    const copied = payloadBytes <= PAYLOAD_COPY_BYTES_MAX;
    this.#reserve(framePrefixBytes(meta.length) + (copied ? payloadBytes : 0));
    let hash = HASH_OF_NOTHING;
    if (payload !== undefined && payloadBytes > 0) hash = message.payloadHash ?? hashBytes(payload);
    this.#end = writeFramePrefix(this.#slab, this.#end, head, meta, payloadBytes, hash);
    if (payload !== undefined && payloadBytes > 0) {
      if (copied) {
        this.#slab.set(payload, this.#end);
        this.#end += payloadBytes;
        if (message.recyclePayload === true) payloadBuffers.recycle(payload);
      } else {
        this.#cut();
        this.#push(payload, message.recyclePayload === true);
      }
    }
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#flush);
    }
  }

  /** Ends the socket after everything that was queued before. */
  finish(): void {
    this.#finishing = true;
    if (!this.#scheduled) this.#socket.end();
  }

  /** Makes room for `bytes` bytes in a row. */
  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#slab.length) return;
    this.#retire();
    this.#slab = payloadBuffers.take(Math.max(SLAB_BYTES, bytes));
    this.#start = 0;
    this.#end = 0;
  }

  /** The slab is full. Its memory is used again once the last piece of it has left, as pieces leave in order. */
  #retire(): void {
    if (this.#end > this.#start) this.#cut(true);
    else if (this.#pieces.length === 0 && this.#socket.writableLength === 0) {
      payloadBuffers.recycle(this.#slab);
    }
  }

  #cut(last = false): void {
    if (this.#end === this.#start) return;
    this.#push(this.#slab.subarray(this.#start, this.#end), last);
    this.#start = this.#end;
  }

  #push(bytes: Uint8Array, recycle: boolean): void {
    this.#pieces.push({ bytes, recycle });
    this.#pieceBytes += bytes.length;
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    this.#cut();
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#pieceBytes = 0;
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    // Corked writes leave as one gathering write.
    if (pieces.length > 1) socket.cork();
    for (const { bytes, recycle } of pieces) {
      socket.write(bytes, recycle ? recycler(bytes) : undefined);
    }
    if (pieces.length > 1) socket.uncork();
    if (this.#finishing) socket.end();
  };
}

/** Called when the kernel has all of `bytes`, or with the reason why it never will. */
function recycler(bytes: Uint8Array): (error?: Error | null) => void {
  return (error) => {
    if (error === undefined || error === null) payloadBuffers.recycle(bytes);
  };
}
