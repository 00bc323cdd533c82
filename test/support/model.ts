/** What S3 listings contain, computed the naive way: the reference for the listing tests. */

export interface NaiveQuery {
  prefix: string;
  delimiter: string | undefined;
  /** Keys and common prefixes after this name, in byte order. */
  after: string | undefined;
  limit: number;
}

export interface NaivePage {
  keys: string[];
  prefixes: string[];
  /** Last name of the page, when there is more. */
  next: string | undefined;
}

export const byBytes = (a: string, b: string): number =>
  Buffer.compare(Buffer.from(a), Buffer.from(b));

/** Looks at every key, as no server should. */
export function naiveList(all: Iterable<string>, query: NaiveQuery): NaivePage {
  const { prefix, delimiter, after, limit } = query;
  const entries = new Map<string, 'key' | 'prefix'>();
  for (const key of all) {
    if (!key.startsWith(prefix)) continue;
    const cut = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
    if (cut < 0) entries.set(key, 'key');
    else entries.set(key.slice(0, cut + (delimiter ?? '').length), 'prefix');
  }
  const rest = [...entries]
    .filter(([name]) => after === undefined || byBytes(name, after) > 0)
    .sort(([a], [b]) => byBytes(a, b));
  const page = rest.slice(0, limit);
  const pick = (wanted: 'key' | 'prefix'): string[] =>
    page.filter(([, kind]) => kind === wanted).map(([name]) => name);
  return {
    keys: pick('key'),
    prefixes: pick('prefix'),
    next: limit > 0 && rest.length > page.length ? page.at(-1)?.[0] : undefined,
  };
}
