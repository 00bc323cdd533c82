/** What several nodes store of one placement group, compared: a walk along all their lists at once. */
import { isFailure, toFailure } from '../../base/failure.ts';
import { type BlockKey, LIST_PAGE_MAX, type ListedBlock } from '../../storage-node/protocol.ts';
import type { Peer } from './copy-block.ts';

export interface WalkedBlock {
  key: BlockKey;
  length: number;
  /** Nodes that have listed it. */
  holders: string[];
}

interface Lane extends Peer {
  page: ListedBlock[];
  /** The page is the last one. */
  ended: boolean;
}

export class GroupWalk {
  readonly #group: number;
  readonly #timeoutMs: number;
  #lanes: Lane[];
  #after: BlockKey | undefined;
  #ended = false;
  /** Why a node was left out, the last one. */
  problem: string | undefined;

  /** Peers without a node are left out from the start. */
  constructor(group: number, peers: readonly Peer[], timeoutMs: number) {
    this.#group = group;
    this.#timeoutMs = timeoutMs;
    this.#lanes = peers
      .filter(({ node }) => node !== undefined)
      .map((peer) => ({ ...peer, page: [], ended: false }));
  }

  /** Nodes whose lists have been read without a gap so far; at the end, all of them. */
  get listed(): Set<string> {
    return new Set(this.#lanes.map(({ id }) => id));
  }

  /** The next blocks, each once; undefined at the end. A node that fails to answer is left out. */
  async next(): Promise<WalkedBlock[] | undefined> {
    if (this.#ended) return undefined;
    await Promise.all(this.#lanes.map((lane) => this.#load(lane)));
    // Up to the first end of a page that has a next one, everybody has told everything.
    let bound: ListedBlock | undefined;
    for (const { page, ended } of this.#lanes) {
      const last = page.at(-1);
      if (ended || last === undefined) continue;
      if (bound === undefined || nameOf(last.key) < nameOf(bound.key)) bound = last;
    }
    const limit = bound === undefined ? undefined : nameOf(bound.key);
    const found = new Map<string, WalkedBlock>();
    for (const { id, page } of this.#lanes) {
      for (const { key, length } of page) {
        const name = nameOf(key);
        if (limit !== undefined && name > limit) break;
        const known = found.get(name);
        if (known === undefined) found.set(name, { key, length, holders: [id] });
        else known.holders.push(id);
      }
    }
    this.#after = bound?.key;
    this.#ended = bound === undefined;
    return [...found.values()];
  }

  async #load(lane: Lane): Promise<void> {
    const query = { group: this.#group, after: this.#after, limit: LIST_PAGE_MAX };
    try {
      lane.page = (await lane.node?.list(query, { timeoutMs: this.#timeoutMs })) ?? [];
      lane.ended = lane.page.length < LIST_PAGE_MAX;
    } catch (error) {
      this.#lanes = this.#lanes.filter((other) => other !== lane);
      const { message } = toFailure(error);
      this.problem = `node ${lane.id} does not list what it has: ${message}`;
      if (isFailure(error, 'internal')) throw error;
    }
  }
}

/** In the order of the keys, within a group. */
export const nameOf = ({ blob, index }: BlockKey): string =>
  blob + index.toString(16).padStart(8, '0');
