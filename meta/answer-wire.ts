/**
 * Answers that travel in another shape than the method returns. A page of 1,000 objects goes as one flat
 * row of cells: encoding and decoding it takes a third of what a map per object does.
 */
import type { Answer, ListedObject, ObjectPage } from './protocol.ts';
import type { Method } from './wire.ts';

interface AnswerShape {
  pack(answer: unknown): unknown;
  unpack(packed: unknown): unknown;
}

/** Methods that are not here answer with what they return. */
export const ANSWERS: Partial<Record<Method, AnswerShape>> = {
  listObjects: {
    pack(answer) {
      const page = answer as Answer<ObjectPage>;
      if (!page.ok) return page;
      return { ok: true, value: { ...page.value, objects: packObjects(page.value.objects) } };
    },
    unpack(packed) {
      const page = packed as Answer<Omit<ObjectPage, 'objects'> & { objects: unknown[] }>;
      if (!page.ok) return page;
      return { ok: true, value: { ...page.value, objects: unpackObjects(page.value.objects) } };
    },
  },
};

/** How many cells a field takes, in this order. A field that has none yet is a type error here. */
const FIELDS = {
  key: 1,
  size: 1,
  etag: 1,
  modifiedMs: 1,
  owner: 1,
  storageClass: 1,
  checksum: 2,
} satisfies Record<keyof ListedObject, number>;
const CELLS = Object.values(FIELDS).reduce((sum, count) => sum + count);

function packObjects(objects: readonly ListedObject[]): unknown[] {
  const cells: unknown[] = [];
  for (const { key, size, etag, modifiedMs, owner, storageClass, checksum } of objects) {
    cells.push(key, size, etag, modifiedMs, owner, storageClass ?? null);
    cells.push(checksum?.algorithm ?? null, checksum?.type ?? null);
  }
  return cells;
}

function unpackObjects(cells: readonly unknown[]): ListedObject[] {
  const objects: ListedObject[] = [];
  for (let at = 0; at + CELLS <= cells.length; at += CELLS) {
    const object = {
      key: cells[at],
      size: cells[at + 1],
      etag: cells[at + 2],
      modifiedMs: cells[at + 3],
      owner: cells[at + 4],
    } as ListedObject;
    if (cells[at + 5] !== null) object.storageClass = cells[at + 5] as string;
    if (cells[at + 6] !== null) {
      object.checksum = { algorithm: cells[at + 6], type: cells[at + 7] } as NonNullable<
        ListedObject['checksum']
      >;
    }
    objects.push(object);
  }
  return objects;
}
