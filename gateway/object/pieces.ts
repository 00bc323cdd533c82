/** From a range of an object to the pieces of blocks that make it up, in order; part lists are paged. */
import { assert, Failure } from '../../base/failure.ts';
import type { BlobRef, DataRef, Meta, PartRef } from '../../meta/protocol.ts';
import type { Piece } from './block-read.ts';
import type { ByteRange } from './engine.ts';
import type { PlacementMap } from './placement.ts';

/** Pieces of `[from, to)` of one blob. Pure. */
class BlobPieces {
  readonly #ref: BlobRef;
  #at: number;
  readonly #end: number;
  #start: { map: PlacementMap; group: number } | undefined;

  constructor(ref: BlobRef, range: ByteRange) {
    this.#ref = ref;
    this.#at = range.start;
    this.#end = range.end;
  }

  next(map: PlacementMap): Piece | undefined {
    if (this.#at >= this.#end) return undefined;
    const { blob, size, blockSize } = this.#ref;
    if (this.#start?.map !== map) this.#start = { map, group: map.start(blob) };
    const index = Math.floor(this.#at / blockSize);
    const first = index * blockSize;
    const length = Math.min(blockSize, size - first);
    const from = this.#at - first;
    const to = Math.min(length, this.#end - first);
    this.#at = first + to;
    const group = (this.#start.group + index) % map.groups;
    return { key: { group, blob, index }, length, from, to };
  }
}

export interface PieceSource {
  /** The next piece; `undefined` at the end; `page` when `loadPage` must be awaited first. */
  next(map: PlacementMap): Piece | undefined | 'page';
  loadPage(): Promise<void>;
}

/** Pieces of a multipart object: one blob per part, the part list read page by page. */
class PartPieces implements PieceSource {
  readonly #meta: Pick<Meta, 'readParts'>;
  readonly #list: string;
  readonly #range: ByteRange;
  #page: readonly PartRef[];
  /** Position in the page. */
  #part = 0;
  /** Object offset up to which pieces were given out. */
  #at: number;
  #blob: BlobPieces | undefined;
  readonly #timeoutMs: number;

  /** `known`: pages of the list that are at hand already; may be empty. */
  constructor(options: {
    meta: Pick<Meta, 'readParts'>;
    list: string;
    range: ByteRange;
    known: readonly PartRef[];
    timeoutMs: number;
  }) {
    this.#meta = options.meta;
    this.#list = options.list;
    this.#range = options.range;
    this.#at = options.range.start;
    this.#timeoutMs = options.timeoutMs;
    const holdsStart = options.known.some(
      (part) => endOf(part) > this.#at && part.offset <= this.#at,
    );
    this.#page = holdsStart ? options.known : [];
  }

  next(map: PlacementMap): Piece | undefined | 'page' {
    for (;;) {
      const piece = this.#blob?.next(map);
      if (piece !== undefined) return piece;
      this.#blob = undefined;
      if (this.#at >= this.#range.end) return undefined;
      const part = this.#page[this.#part];
      if (part === undefined) return 'page';
      this.#part++;
      this.#enter(part);
    }
  }

  async loadPage(): Promise<void> {
    const last = this.#page.at(-1);
    const from = last === undefined ? { offset: this.#at } : { after: last.number };
    const options = { timeoutMs: this.#timeoutMs };
    const page = await this.#meta.readParts({ list: this.#list, from }, options);
    // The list was there when the read began, so the lease that protected it is gone: try again.
    if (page.length === 0) throw new Failure('unavailable', 'the list of parts is gone');
    this.#page = page;
    this.#part = 0;
  }

  #enter(part: PartRef): void {
    const end = Math.min(endOf(part), this.#range.end);
    if (end <= this.#at) return;
    assert(part.offset <= this.#at, 'a part list has no holes');
    assert(part.data !== undefined, 'a part with bytes has a blob');
    const range = { start: this.#at - part.offset, end: end - part.offset };
    this.#blob = new BlobPieces(part.data, range);
    this.#at = end;
  }
}

function endOf(part: PartRef): number {
  return part.offset + part.size;
}

/** The pieces of `range` of an object's data. */
export function piecesOf(
  data: DataRef,
  range: ByteRange,
  parts: {
    meta: Pick<Meta, 'readParts'>;
    known: readonly PartRef[];
    timeoutMs: number;
  },
): PieceSource {
  if (data.kind === 'parts') return new PartPieces({ ...parts, list: data.list, range });
  const pieces = data.kind === 'none' ? undefined : new BlobPieces(data, range);
  return {
    next: (map) => pieces?.next(map),
    loadPage: () => Promise.resolve(),
  };
}
