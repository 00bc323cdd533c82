/** From a range of an object to the pieces of blocks that make it up, in order; part lists are paged. */
import type { KeyObject } from 'node:crypto';
import { assert, Failure } from '../../base/failure.ts';
import { contentPerBlock, SEAL_BYTES } from '../../base/sealed-size.ts';
import type { BlobRef, DataRef, Meta, PartRef } from '../../meta/protocol.ts';
import type { Piece } from './block-read.ts';
import type { ByteRange } from './engine.ts';
import type { PlacementMap } from './placement.ts';
import { BlobSeal } from './seal.ts';

/** Pieces of `[from, to)` of the content of one blob, which is sealed if there is a data key. Pure. */
class BlobPieces {
  readonly #ref: BlobRef;
  readonly #seal: BlobSeal | undefined;
  /** Bytes of content in a full block. */
  readonly #perBlock: number;
  #at: number;
  readonly #end: number;
  #start: { map: PlacementMap; group: number } | undefined;

  constructor(ref: BlobRef, range: ByteRange, dataKey: KeyObject | undefined) {
    this.#ref = ref;
    this.#seal = dataKey && new BlobSeal(dataKey, ref.blob);
    this.#perBlock = dataKey === undefined ? ref.blockSize : contentPerBlock(ref.blockSize);
    this.#at = range.start;
    this.#end = range.end;
  }

  next(map: PlacementMap): Piece | undefined {
    if (this.#at >= this.#end) return undefined;
    const { blob, size, blockSize } = this.#ref;
    if (this.#start?.map !== map) this.#start = { map, group: map.start(blob) };
    const index = Math.floor(this.#at / this.#perBlock);
    const first = index * this.#perBlock;
    const length = Math.min(blockSize, size - index * blockSize);
    const from = this.#at - first;
    const content = this.#seal === undefined ? length : length - SEAL_BYTES;
    const to = Math.min(content, this.#end - first);
    this.#at = first + to;
    const group = (this.#start.group + index) % map.groups;
    const key = { group, blob, index };
    if (this.#seal === undefined) return { key, length, from, to };
    return { key, length, from: 0, to: length, sealed: { seal: this.#seal, from, to } };
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
  readonly #dataKey: KeyObject | undefined;

  /** `known`: pages of the list that are at hand already; may be empty. */
  constructor(options: {
    meta: Pick<Meta, 'readParts'>;
    list: string;
    range: ByteRange;
    known: readonly PartRef[];
    timeoutMs: number;
    dataKey: KeyObject | undefined;
  }) {
    this.#meta = options.meta;
    this.#list = options.list;
    this.#range = options.range;
    this.#at = options.range.start;
    this.#timeoutMs = options.timeoutMs;
    this.#dataKey = options.dataKey;
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
    this.#blob = new BlobPieces(part.data, range, this.#dataKey);
    this.#at = end;
  }
}

function endOf(part: PartRef): number {
  return part.offset + part.size;
}

/** The pieces of `range` of an object's data, which is encrypted if there is a data key. */
export function piecesOf(
  data: DataRef,
  range: ByteRange,
  parts: {
    meta: Pick<Meta, 'readParts'>;
    known: readonly PartRef[];
    timeoutMs: number;
    dataKey: KeyObject | undefined;
  },
): PieceSource {
  if (data.kind === 'parts') return new PartPieces({ ...parts, list: data.list, range });
  const pieces = data.kind === 'none' ? undefined : new BlobPieces(data, range, parts.dataKey);
  return {
    next: (map) => pieces?.next(map),
    loadPage: () => Promise.resolve(),
  };
}
