/** The body of every error answer (Amazon S3 API reference, "Error responses"). */
import type { S3Error } from '../errors.ts';
import { element, text } from './writer.ts';

export interface ErrorPlace {
  /** `/bucket/key`, as far as it is known. */
  resource: string;
  requestId: string;
  hostId: string;
}

/** Unlike all other documents it has no namespace. Holds the error's public side only. */
export function errorDocument(error: S3Error, place: ErrorPlace): string {
  const details = Object.entries(error.details).map(([name, value]) => text(name, value));
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    element(
      'Error',
      text('Code', error.code),
      text('Message', error.message),
      ...details,
      text('Resource', place.resource),
      text('RequestId', place.requestId),
      text('HostId', place.hostId),
    )
  );
}
