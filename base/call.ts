/** What every call to another service carries, in process or over the wire. */
export interface CallOptions {
  /** Milliseconds from now after which the caller stops waiting (Failure `timeout`). */
  timeoutMs?: number;
  /** The caller gave up: the call rejects with Failure `cancelled`; the work may still happen. */
  signal?: AbortSignal;
}
