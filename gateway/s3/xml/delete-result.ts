/** The answer of DeleteObjects. */
import type { ErrorCode } from '../errors.ts';
import { document, element, text } from './writer.ts';

export type DeleteOutcome =
  | {
      key: string;
      /** As named in the request. */
      versionId?: string | undefined;
      deleted: true;
      /** Of the delete marker that was made, or that was deleted. */
      markerId?: string | undefined;
    }
  | {
      key: string;
      versionId?: string | undefined;
      deleted: false;
      code: ErrorCode;
      message: string;
    };

/** Outcomes in the order of the request. */
export function deleteResult(outcomes: readonly DeleteOutcome[]): string {
  let children = '';
  for (const outcome of outcomes) {
    children += outcome.deleted
      ? element(
          'Deleted',
          text('Key', outcome.key),
          text('VersionId', outcome.versionId),
          text('DeleteMarker', outcome.markerId === undefined ? undefined : true),
          text('DeleteMarkerVersionId', outcome.markerId),
        )
      : element(
          'Error',
          text('Key', outcome.key),
          text('VersionId', outcome.versionId),
          text('Code', outcome.code),
          text('Message', outcome.message),
        );
  }
  return document('DeleteResult', children);
}
