/**
 * One storage node's copy of the journal as the metadata service sees it: claims it, finds where it
 * agrees with ours, drops what does not, and sends what is missing, then every new record.
 */
import { Failure, isFailure, toFailure } from '../../base/failure.ts';
import {
  decodeJournalRecords,
  JOURNAL_BYTES_MAX,
  type JournalClaim,
  type JournalNode,
  type JournalPosition,
  type JournalState,
} from '../../storage-node/protocol.ts';

/** Longest time for one call to a node, in milliseconds. */
export const CALL_TIMEOUT_MS = 3000;
/** About so much per append while a node catches up. */
const APPEND_BYTES = 1024 ** 2;
/** How far back a node's end is looked at for a record that we know. */
const LOOK_BACK = 8;

export interface PeerSource {
  readonly claim: JournalClaim;
  /** The newest record. */
  readonly head: JournalPosition;
  /** Checksum of our record with this sequence; undefined: nobody knows any more. */
  checksum(sequence: number): Promise<bigint | undefined>;
  /** Our records from `sequence` on; undefined: nobody has them any more. */
  records(sequence: number, bytesMax: number): Promise<Buffer | undefined>;
  /** The oldest place from which everything is known: a snapshot. */
  readonly floor: JournalPosition | undefined;
  /** Something is durable on this peer now. */
  acknowledged(): void;
  /** The peer works no more; it may be tried again. */
  lost(peer: Peer, failure: Failure): void;
  /** Records between the last snapshot and now cannot be given to this peer: a new one is due. */
  gap(): void;
}

export class Peer {
  readonly id: string;
  readonly journal: JournalNode;
  readonly #source: PeerSource;
  /** Newest record that is on stable storage there. */
  acked = 0;
  /** The records after this one are there without a gap. */
  base = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(id: string, journal: JournalNode, source: PeerSource) {
    this.id = id;
    this.journal = journal;
    this.#source = source;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Makes the node's journal a beginning of ours. `state`: as it was when it was claimed. */
  async join(state: JournalState): Promise<void> {
    const { claim, head } = this.#source;
    const keep = (await this.#common(state)) ?? this.#anew(head);
    this.base = state.base.sequence;
    if (keep.sequence !== state.last.sequence || keep.checksum !== state.last.checksum) {
      const trimmed = await this.journal.trim({ claim, keep }, { timeoutMs: CALL_TIMEOUT_MS });
      this.base = trimmed.base.sequence;
    }
    this.acked = keep.sequence;
    this.#source.acknowledged();
  }

  /** Sends what there is to send, for as long as the peer works. Never rejects. */
  async run(): Promise<void> {
    const source = this.#source;
    try {
      while (!this.#ended) {
        if (this.acked < source.head.sequence) await this.#send();
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } catch (error) {
      const ended = this.#ended;
      this.#ended = true;
      if (!ended) source.lost(this, toFailure(error));
    }
  }

  /** There is something to send. */
  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  end(): void {
    this.#ended = true;
    this.wake();
  }

  async #send(): Promise<void> {
    const source = this.#source;
    const { claim } = source;
    const records = await source.records(this.acked + 1, APPEND_BYTES);
    if (this.#ended) return;
    if (records === undefined) {
      const keep = this.#anew(source.head);
      await this.journal.trim({ claim, keep }, { timeoutMs: CALL_TIMEOUT_MS });
      this.base = keep.sequence;
      this.acked = keep.sequence;
    } else {
      const last = await this.journal.append({ claim, records }, { timeoutMs: CALL_TIMEOUT_MS });
      if (last.sequence <= this.acked) throw new Failure('internal', 'a node took no records');
      this.acked = last.sequence;
    }
    if (!this.#ended) source.acknowledged();
  }

  /** Begins in the present: what lies between is covered by the next snapshot. */
  #anew(head: JournalPosition): JournalPosition {
    this.#source.gap();
    return head;
  }

  /** The newest place in which the node's journal and ours agree; undefined: none that helps. */
  async #common({ base, last }: JournalState): Promise<JournalPosition | undefined> {
    const source = this.#source;
    const { head, floor } = source;
    if (
      last.sequence <= head.sequence &&
      (await source.checksum(last.sequence)) === last.checksum
    ) {
      return last;
    }
    const highest = Math.min(last.sequence, head.sequence);
    const from = Math.max(base.sequence + 1, highest - LOOK_BACK);
    if (from <= highest) {
      const query = { from, bytesMax: JOURNAL_BYTES_MAX };
      const { records } = await this.journal.read(query, { timeoutMs: CALL_TIMEOUT_MS });
      for (const { sequence, checksum } of decodeJournalRecords(records).reverse()) {
        if (sequence > highest) continue;
        if ((await source.checksum(sequence)) === checksum) return { sequence, checksum };
      }
    }
    if (floor === undefined || floor.sequence > head.sequence) return undefined;
    const reachable = await source.records(floor.sequence + 1, 1);
    return floor.sequence === head.sequence || reachable !== undefined ? floor : undefined;
  }
}

/** Whether a node will not obey us any more: another process has opened the journal. */
export const isFenced = (failure: Failure): boolean => isFailure(failure, 'fenced');
