/**
 * Internal failures: kinds, not HTTP. The gateway maps kinds to S3 errors in one exhaustive switch;
 * nothing below the gateway knows an HTTP status. A check that fails in the ordinary course of
 * business (a lost precondition, a missing key) is a value, never a Failure.
 */
export const FAILURE_KINDS = [
  /** The thing named does not exist. */
  'not-found',
  /** The thing exists already, with other content. */
  'conflict',
  /** The request itself is wrong: a bug or a hostile peer. */
  'invalid',
  /** Stored or transmitted bytes do not match their checksum. */
  'corrupt',
  /** The deadline passed; the work may or may not have happened. */
  'timeout',
  /** The peer cannot be reached or is not ready. Unreachable is never the same as missing. */
  'unavailable',
  /** The free-space floor is reached. */
  'full',
  /** The caller gave up. */
  'cancelled',
  /** The writer's lease is gone; nothing it does counts any more. */
  'fenced',
  /** A connection broke after a commit was sent: it happened or not; re-read to know. */
  'unknown-outcome',
  /** The peer failed to prove that it knows the cluster secret, or is of another cluster. */
  'unauthenticated',
  /** A bug of ours. */
  'internal',
] as const;

export type FailureKind = (typeof FAILURE_KINDS)[number];

export class Failure extends Error {
  readonly kind: FailureKind;
  constructor(kind: FailureKind, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'Failure';
    this.kind = kind;
  }
}

export function isFailure(error: unknown, ...kinds: FailureKind[]): error is Failure {
  return error instanceof Failure && (kinds.length === 0 || kinds.includes(error.kind));
}

/** Any thrown value as a Failure; what is not one already becomes `internal` with its cause kept. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new Failure('internal', message, { cause: error });
}

/** Guards an invariant of ours (never client input). */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Failure('internal', `assertion failed: ${message}`);
}
