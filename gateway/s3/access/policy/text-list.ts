import type { Json } from './json.ts';

/** One text or a list of some; `undefined` for anything else, and for an empty list. */
export function textList(value: Json | undefined): readonly string[] | undefined {
  const list: readonly Json[] = Array.isArray(value) ? value : [value as Json];
  if (list.length === 0 || !list.every((item) => typeof item === 'string')) return undefined;
  return list;
}
