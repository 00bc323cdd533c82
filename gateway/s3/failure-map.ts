/** Internal failures as S3 errors: one exhaustive switch. */
import { Failure, type FailureKind } from '../../base/failure.ts';
import { KeyError } from '../keys/protocol.ts';
import { S3Error } from './errors.ts';

/** Seconds after which a client may well succeed. */
const RETRY_SOON = { 'Retry-After': '1' };
/** Space comes back when somebody deletes or adds disks. */
const RETRY_LATER = { 'Retry-After': '30' };

/** Any thrown value as the error that the client sees; the real one stays its `cause`, for the log. */
export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  if (error instanceof Failure) return fromKind(error.kind, error);
  if (error instanceof KeyError) return fromKeyProblem(error);
  return new S3Error('InternalError', { cause: error });
}

function fromKeyProblem(cause: KeyError): S3Error {
  const { problem, message } = cause;
  switch (problem) {
    case 'no-master-key':
      return new S3Error('NotImplemented', {
        message:
          'This gateway has no master key, so it cannot encrypt with keys of its own: set encryption.masterKeys.',
        cause,
      });
    case 'unknown-key':
      return new S3Error('KMS.NotFoundException', { message, cause });
    case 'denied':
      return new S3Error('AccessDenied', { cause });
    case 'unavailable':
      return new S3Error('ServiceUnavailable', { headers: RETRY_SOON, cause });
    case 'wrong-key':
      return new S3Error('AccessDenied', {
        message:
          'Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.',
        cause,
      });
    case 'lost-master-key':
    case 'damaged':
      return new S3Error('InternalError', { cause });
    default:
      return problem satisfies never;
  }
}

function fromKind(kind: FailureKind, cause: Failure): S3Error {
  switch (kind) {
    case 'unavailable':
    case 'timeout':
    case 'unknown-outcome':
    case 'fenced':
    case 'cancelled':
      // After unknown-outcome the write happened or not; repeating it is what S3 clients do anyway,
      // and a repeated conditional write answers for itself.
      return new S3Error('ServiceUnavailable', { headers: RETRY_SOON, cause });
    case 'full':
      return new S3Error('ServiceUnavailable', {
        message: 'The store has no space for new data at the moment. Deleting still works.',
        headers: RETRY_LATER,
        cause,
      });
    case 'corrupt':
    case 'not-found':
    case 'conflict':
    case 'invalid':
    case 'unauthenticated':
    case 'internal':
      return new S3Error('InternalError', { cause });
    default:
      return kind satisfies never;
  }
}
