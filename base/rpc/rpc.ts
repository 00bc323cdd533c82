/**
 * Remote calls as the rooms see them: a method number, a small `meta` value (MessagePack) and an
 * optional raw payload with its XXH64. `server.ts` and `client.ts` beside this file carry them over
 * framed TCP or Unix sockets; the frame format is in `frame.ts`.
 */
import type { CallOptions } from '../call.ts';

/** Where a service listens: `host:port`, `[v6]:port` or `unix:/path`. */
export type Address = string;

/** Meta values: what MessagePack carries. Byte strings arrive as Buffer. */
export type RpcMeta = unknown;

export interface RpcMessage {
  meta: RpcMeta;
  /** Sent as it is, never copied by the sender: do not change it until the call has settled. */
  payload?: Uint8Array | undefined;
  /** XXH64 of the payload, when the sender knows it already; otherwise the codec computes it. */
  payloadHash?: bigint | undefined;
  /**
   * Nobody else uses the payload's memory: it is recycled (`buffer-pool.ts`) when the payload has
   * left for the peer. If it never does, it is not.
   */
  recyclePayload?: boolean | undefined;
}

export interface ReceivedMessage {
  meta: RpcMeta;
  /** Private to the receiver, who may recycle it (`buffer-pool.ts`). */
  payload: Buffer | undefined;
  /** XXH64 of the payload, verified; that of no bytes when there is no payload. */
  payloadHash: bigint;
}

export interface RpcRequest extends ReceivedMessage {
  method: number;
  /** Aborts when the caller cancels, its connection ends or its deadline passes. */
  readonly signal: AbortSignal;
}

/** Rejecting with a Failure hands its kind and message to the caller; anything else is `internal`. */
export type RpcHandler = (request: RpcRequest) => Promise<RpcMessage>;

/** A connection to one peer that re-establishes itself; many calls in flight. */
export interface RpcChannel {
  /**
   * Rejects with Failure: `unavailable` (never sent), `unknown-outcome` (connection lost after
   * sending), `timeout`, `cancelled`, `corrupt`, `unauthenticated`, or the peer's own failure kind.
   */
  call(method: number, message: RpcMessage, options?: CallOptions): Promise<ReceivedMessage>;
  /** True while an authenticated connection stands. */
  readonly connected: boolean;
  /** Rejects what is in flight and stops reconnecting. */
  close(): Promise<void>;
}

export interface RpcLimits {
  /** Largest meta part of a frame, in bytes. */
  metaBytesMax: number;
  /** Largest payload of a frame, in bytes. */
  payloadBytesMax: number;
}
