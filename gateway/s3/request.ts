/** A request and a reply as the S3 protocol sees them: no web framework in sight. */

/** Header names in lower case. A header sent twice is joined with `,` in order. */
export type HeaderMap = Readonly<Record<string, string | undefined>>;

/**
 * Bytes as they come. Each chunk is private to the consumer, who may recycle or
 * free it (`base/buffer-pool.ts`); iterating twice is a mistake.
 */
export type ByteSource = AsyncIterable<Uint8Array>;

export interface RawRequest {
  /** 16 hex digits; `x-amz-request-id`. */
  id: string;
  method: string;
  /** The request target before `?`, exactly as received: still percent-encoded, never folded. */
  rawPath: string;
  /** After `?`, exactly as received; empty when there is none. */
  rawQuery: string;
  headers: HeaderMap;
  /** Names of headers that were sent more than once. */
  repeatedHeaders: readonly string[];
  /** The message body before any decoding. Reading it is what answers `Expect: 100-continue`. */
  body: ByteSource;
  /** From Content-Length; undefined when absent (no body, or chunked). */
  contentLength: number | undefined;
  /** Transfer-Encoding: chunked was used. */
  chunked: boolean;
  /** The peer's socket address, for conditions and logs. */
  remoteAddress: string;
  /** TLS. */
  secure: boolean;
  /** `1.3`; undefined without TLS. */
  readonly tlsVersion?: string | undefined;
  /** Aborts when the client's connection ends. */
  signal: AbortSignal;
}

/** Whether a body is streamed. */
export function isSource(body: RawReply['body']): body is ByteSource {
  return typeof body === 'object' && !(body instanceof Uint8Array);
}

export interface RawReply {
  status: number;
  /** Names as they go on the wire; undefined values are left out. */
  headers: Record<string, string | number | undefined>;
  /**
   * Text and buffers are sent whole with their length, and belong to the reply. A source is streamed under the
   * Content-Length in `headers`; if it throws, or ends early, the connection is destroyed.
   */
  body?: string | Uint8Array | ByteSource | undefined;
  /** Runs once when the reply has been sent or its connection is gone. */
  finished?: (() => void) | undefined;
  /** Close the connection after this reply (the request's body was not read to its end). */
  close?: boolean | undefined;
}
