/** Answer of PostObject when it is asked for status 201. Without a namespace, as S3 writes it. */
import { DECLARATION, element, text } from './writer.ts';

export interface PostResponse {
  location: string;
  bucket: string;
  key: string;
  /** With its quotes. */
  etag: string;
}

export function postResponse({ location, bucket, key, etag }: PostResponse): string {
  return (
    DECLARATION +
    element(
      'PostResponse',
      text('Location', location),
      text('Bucket', bucket),
      text('Key', key),
      text('ETag', etag),
    )
  );
}
