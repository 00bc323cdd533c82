/**
 * Part lists: the content of a completed multipart object, in rows of its own, written once. Page 0
 * is a header with the reference count and where each page begins; pages of PARTS_PER_PAGE follow.
 */
import type { KeyValueStore } from '../engine/kv.ts';
import { type PartRef, PARTS_PER_PAGE, type ReadPartsQuery } from '../protocol.ts';
import type { Draft } from './draft.ts';
import { partListKey } from './keyspace.ts';
import {
  partListCodec,
  type PartListHeader,
  type PartListPage,
  partPageCodec,
  type PartRow,
} from './records.ts';

export type NumberedPart = PartRow & { number: number };

/** Writes a new list with one reference. The references of its blobs are the caller's. */
export function insertPartList(draft: Draft, list: string, parts: readonly NumberedPart[]): void {
  const pages: PartListHeader['pages'] = [];
  let offset = 0;
  for (let from = 0; from < parts.length; from += PARTS_PER_PAGE) {
    const page = parts.slice(from, from + PARTS_PER_PAGE);
    pages.push({ number: page[0]?.number ?? 0, offset });
    draft.insert(partListKey(list, pages.length), partPageCodec, { parts: page });
    for (const part of page) offset += part.size;
  }
  const header = { refs: 1, size: offset, count: parts.length, pages };
  draft.insert(partListKey(list, 0), partListCodec, header);
}

/** The parts of a page as the protocol shows them; `offset`: where its first part begins. */
function partRefs(page: PartListPage, offset: number): PartRef[] {
  let next = offset;
  return page.parts.map((part) => {
    const ref: PartRef = { number: part.number, offset: next, size: part.size, etag: part.etag };
    if (part.data !== undefined) ref.data = part.data;
    if (part.checksum !== undefined) ref.checksum = part.checksum;
    next += part.size;
    return ref;
  });
}

/** The first page, in one read; undefined when the list is gone. */
export async function readFirstPage(
  store: KeyValueStore,
  list: string,
): Promise<PartRef[] | undefined> {
  const [entry] = await store.get([partListKey(list, 1)]);
  return entry == null ? undefined : partRefs(partPageCodec.decode(entry.value), 0);
}

/** The page that the query names; empty when the list is gone or has no such part. */
export async function readParts(
  store: KeyValueStore,
  { list, from }: ReadPartsQuery,
): Promise<PartRef[]> {
  const [head] = await store.get([partListKey(list, 0)]);
  if (head == null) return [];
  let page = pageOf(partListCodec.decode(head.value), from);
  if (page === undefined) return [];
  for (;;) {
    const [entry] = await store.get([partListKey(list, page.index)]);
    if (entry == null) return [];
    const parts = partRefs(partPageCodec.decode(entry.value), page.offset);
    if (matches(parts, from)) return parts;
    // `after` the last part of this page: the next one begins with the part that is asked for.
    const header = partListCodec.decode(head.value);
    const next: PartListHeader['pages'][number] | undefined = header.pages[page.index];
    if (!('after' in from) || next === undefined) return [];
    page = { index: page.index + 1, offset: next.offset };
  }
}

/** The last page that begins at or before what is asked for. Pages count from 1. */
function pageOf(
  header: PartListHeader,
  from: ReadPartsQuery['from'],
): { index: number; offset: number } | undefined {
  if ('offset' in from && (from.offset < 0 || from.offset >= header.size)) return undefined;
  let found = 0;
  for (const [index, page] of header.pages.entries()) {
    if ('offset' in from ? page.offset <= from.offset : page.number <= partOf(from)) found = index;
    else break;
  }
  const page = header.pages[found];
  return page === undefined ? undefined : { index: found + 1, offset: page.offset };
}

function partOf(from: { part: number } | { after: number }): number {
  return 'part' in from ? from.part : from.after;
}

/** Whether the page holds the part, or one after it. */
function matches(parts: readonly PartRef[], from: ReadPartsQuery['from']): boolean {
  if ('offset' in from) return true;
  if ('part' in from) return parts.some((part) => part.number === from.part);
  return (parts.at(-1)?.number ?? 0) > from.after;
}
