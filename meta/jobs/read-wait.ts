/**
 * Blocks that nothing refers to, and that must stay where they are until every read that may see them
 * has ended (`../cluster/reclamation.ts`). Asked again and again with what is there; remembers since
 * when each was known to be unwanted.
 */
import { type BlockKey, encodeBlockKey } from '../../storage-node/protocol.ts';
import type { Leases } from '../cluster/leases.ts';
import type { Reclamation } from '../cluster/reclamation.ts';

/** Blocks that are remembered; beyond it all have to wait once more. */
const KEPT_MAX = 100_000;

export class ReadWait {
  readonly #leases: Pick<Leases, 'oldestRead'>;
  readonly #reclamation: Pick<Reclamation<unknown>, 'begin'>;
  /** The first epoch in which no read begins that could see the block. */
  readonly #since = new Map<string, number>();

  constructor(parts: {
    leases: Pick<Leases, 'oldestRead'>;
    reclamation: Pick<Reclamation<unknown>, 'begin'>;
  }) {
    this.#leases = parts.leases;
    this.#reclamation = parts.reclamation;
  }

  /** Those of `keys` on `node` that may go now. To be called after their rows were found absent. */
  released(node: string, keys: readonly BlockKey[]): BlockKey[] {
    if (this.#since.size > KEPT_MAX) this.forget();
    const oldest = this.#leases.oldestRead();
    const free: BlockKey[] = [];
    let epoch: number | undefined;
    for (const key of keys) {
      const name = `${node} ${encodeBlockKey(key).toString('latin1')}`;
      const since = this.#since.get(name);
      if (since === undefined) {
        epoch ??= this.#reclamation.begin();
        this.#since.set(name, epoch);
      } else if (oldest !== undefined && since <= oldest) free.push(key);
    }
    return free;
  }

  /** All have to wait again. */
  forget(): void {
    this.#since.clear();
  }
}
