/** The answer of DeleteObjects. */
import { document, element, text } from './writer.ts';

export type DeleteOutcome =
  | { key: string; versionId?: string | undefined; deleted: true }
  | { key: string; versionId?: string | undefined; deleted: false; code: string; message: string };

/** Outcomes in the order of the request. */
export function deleteResult(outcomes: readonly DeleteOutcome[]): string {
  let children = '';
  for (const outcome of outcomes) {
    children += outcome.deleted
      ? element('Deleted', text('Key', outcome.key), text('VersionId', outcome.versionId))
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
