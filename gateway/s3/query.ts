/** The query string: decoded once, never touched by a web framework's parser. */
import { S3Error } from './errors.ts';
import type { QueryParameters } from './operation.ts';
import { decodePercent } from './percent.ts';

class Query implements QueryParameters {
  readonly #names: readonly string[];
  readonly #values: readonly string[];

  constructor(names: readonly string[], values: readonly string[]) {
    this.#names = names;
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#names.includes(name);
  }

  get(name: string): string | undefined {
    const index = this.#names.indexOf(name);
    return index < 0 ? undefined : this.#values[index];
  }

  names(): readonly string[] {
    return this.#names;
  }
}

const NO_QUERY: QueryParameters = new Query([], []);

/**
 * Parses what follows `?`. `+` is a space here (as S3 and every HTML form have it), unlike in paths.
 * Throws InvalidURI when an escape is broken, the bytes are not UTF-8 or a NUL appears.
 */
export function parseQuery(raw: string): QueryParameters {
  if (raw === '') return NO_QUERY;
  const names: string[] = [];
  const values: string[] = [];
  for (const pair of raw.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    names.push(decode(equals < 0 ? pair : pair.slice(0, equals)));
    values.push(equals < 0 ? '' : decode(pair.slice(equals + 1)));
  }
  return new Query(names, values);
}

function decode(text: string): string {
  const decoded = decodePercent(text.includes('+') ? text.replaceAll('+', ' ') : text);
  if (decoded === undefined) throw new S3Error('InvalidURI');
  return decoded;
}
