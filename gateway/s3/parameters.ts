/** Query parameters that several operations share. */
import { KEY_BYTES_MAX, PART_NUMBER_MAX } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';
import type { QueryParameters } from './operation.ts';
import type { EncodingType } from './xml/elements.ts';

/** Largest number that S3 takes in a query parameter. */
const INTEGER_MAX = 2 ** 31 - 1;
/** An upload id of ours has 32 characters; a longer one than this was never given out. */
const UPLOAD_ID_CHARACTERS_MAX = 256;

export function invalidArgument(name: string, value: string, message?: string): S3Error {
  return new S3Error('InvalidArgument', {
    ...(message === undefined ? {} : { message }),
    details: { ArgumentName: name, ArgumentValue: value },
  });
}

/**
 * A count such as `max-keys`: clamped to `limit`, which is also the default. Throws InvalidArgument
 * for anything but digits and for what is over 2^31 − 1.
 */
export function countParameter(query: QueryParameters, name: string, limit: number): number {
  return Math.min(integerParameter(query, name) ?? limit, limit);
}

/** A whole number of 0 … 2^31 − 1; `undefined` when absent or empty. Throws InvalidArgument. */
export function integerParameter(query: QueryParameters, name: string): number | undefined {
  const value = query.get(name);
  if (value === undefined || value === '') return undefined;
  if (!/^[0-9]{1,10}$/.test(value) || Number(value) > INTEGER_MAX) {
    throw invalidArgument(
      name,
      value,
      `Argument ${name} must be an integer between 0 and ${INTEGER_MAX}`,
    );
  }
  return Number(value);
}

/** `partNumber`. Throws InvalidArgument. */
export function partNumberParameter(query: QueryParameters): number {
  const value = query.get('partNumber') ?? '';
  const number = /^[0-9]{1,5}$/.test(value) ? Number(value) : 0;
  if (number >= 1 && number <= PART_NUMBER_MAX) return number;
  throw invalidArgument(
    'partNumber',
    value,
    `Part number must be an integer between 1 and ${PART_NUMBER_MAX}, inclusive`,
  );
}

/** `uploadId`: opaque. Throws NoSuchUpload for what was never given out. */
export function uploadIdParameter(query: QueryParameters): string {
  const value = query.get('uploadId') ?? '';
  if (value !== '' && value.length <= UPLOAD_ID_CHARACTERS_MAX) return value;
  throw new S3Error('NoSuchUpload', {
    details: { UploadId: value.slice(0, UPLOAD_ID_CHARACTERS_MAX) },
  });
}

/** `encoding-type`: `url` or nothing. Throws InvalidArgument. */
export function encodingParameter(query: QueryParameters): EncodingType | undefined {
  const value = query.get('encoding-type');
  if (value === undefined || value === '') return undefined;
  if (value.toLowerCase() === 'url') return 'url';
  throw invalidArgument('encoding-type', value, 'Invalid Encoding Method specified in Request');
}

/** A key, a prefix or a marker; `undefined` when absent. Throws KeyTooLongError. */
export function nameParameter(query: QueryParameters, name: string): string | undefined {
  const value = query.get(name);
  if (value === undefined || value.length * 3 <= KEY_BYTES_MAX) return value;
  const size = Buffer.byteLength(value);
  if (size <= KEY_BYTES_MAX) return value;
  throw new S3Error('KeyTooLongError', {
    details: { Size: String(size), MaxSizeAllowed: String(KEY_BYTES_MAX) },
  });
}

/** `delimiter`: an empty one is none. */
export function delimiterParameter(query: QueryParameters): string | undefined {
  const value = nameParameter(query, 'delimiter');
  return value === '' ? undefined : value;
}

/** First byte of a continuation token: tells ours from anything else, and from later formats. */
const TOKEN_FORMAT = 0x01;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** An opaque token that holds the name after which a listing goes on. */
export function encodeToken(after: string): string {
  return Buffer.concat([Buffer.of(TOKEN_FORMAT), Buffer.from(after)]).toString('base64url');
}

/** The name inside a token of ours. Throws InvalidArgument. */
export function decodeToken(token: string): string {
  const bytes = Buffer.from(token, 'base64url');
  if (bytes[0] === TOKEN_FORMAT && bytes.toString('base64url') === token) {
    try {
      return utf8.decode(bytes.subarray(1));
    } catch {
      // Not UTF-8, so not ours: refused below like any other token.
    }
  }
  throw invalidArgument(
    'continuation-token',
    token,
    'The continuation token provided is incorrect',
  );
}
