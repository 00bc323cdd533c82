/**
 * When is a block safe? A pure state machine over the block's replicas: it is told what happened and
 * says what follows. It knows no clock: the caller decides when a bound has passed and tells it.
 *
 * A block is safe when all its replicas acknowledged. Policy `degraded` also accepts QUORUM of them
 * when the others cannot take it or do not answer in time, and names those as missing; policy
 * `strict` never does. One replica alone is never enough, under any policy.
 */

/** Fewest acknowledgements that ever make a block acceptable. */
const QUORUM = 2;

export type WritePolicy = 'degraded' | 'strict';

/** `unable`: may work on another try. `full`: no space. `rejected`: no try will ever work. */
export type WriteProblem = 'unable' | 'full' | 'rejected';

export type WriteVerdict =
  | { kind: 'waiting' }
  | { kind: 'safe' }
  /** Accepted without the replicas at these positions. */
  | { kind: 'degraded'; missing: number[] }
  | { kind: 'refused'; reason: 'full' | 'unavailable' };

/** `idle`: not asked, because it is not expected to answer. */
type ReplicaState = 'idle' | 'pending' | 'acked' | WriteProblem;

const WAITING: WriteVerdict = { kind: 'waiting' };
const SAFE: WriteVerdict = { kind: 'safe' };

export class WriteQuorum {
  readonly #policy: WritePolicy;
  readonly #replicas: ReplicaState[];
  #retries = true;
  #verdict: WriteVerdict = WAITING;

  /**
   * `usable`: per replica, whether it is expected to answer. The others are left out from the
   * start, unless that alone would spoil the block: then every one is asked, because a guess about
   * a node is worth less than its answer.
   */
  constructor(policy: WritePolicy, usable: readonly boolean[]) {
    this.#policy = policy;
    const enough = usable.filter(Boolean).length >= this.#needed(usable.length);
    this.#replicas = usable.map((up) => (up || !enough ? 'pending' : 'idle'));
  }

  /** Final once it is not `waiting`; what is reported later changes nothing. */
  get verdict(): WriteVerdict {
    return this.#verdict;
  }

  /** Replicas that have been asked and have not answered. */
  get pending(): number[] {
    return this.#where('pending');
  }

  /** True when the block only waits for stragglers: a bound on that wait may start. */
  get lingering(): boolean {
    const waiting = this.#verdict.kind === 'waiting';
    return waiting && this.#policy === 'degraded' && this.#count('acked') >= QUORUM;
  }

  /** True when asking again is worth while: the block waits and `retry` would name someone. */
  get wantsRetry(): boolean {
    if (this.#verdict.kind !== 'waiting' || !this.#retries || this.lingering) return false;
    return this.#replicas.some((state) => state === 'unable' || state === 'idle');
  }

  acked(replica: number): void {
    this.#move(replica, 'acked');
  }

  failed(replica: number, problem: WriteProblem): void {
    this.#move(replica, problem);
  }

  /** Another try begins: the replicas to ask (again). They are pending now. */
  retry(): number[] {
    if (!this.wantsRetry) return [];
    const again = [...this.#where('unable'), ...this.#where('idle')];
    for (const replica of again) this.#replicas[replica] = 'pending';
    return again;
  }

  /** The bound on waiting for stragglers has passed; returns those that were given up on. */
  stopLingering(): number[] {
    if (!this.lingering) return [];
    return this.#fail('pending');
  }

  /** Nothing is asked again from here on. */
  stopRetrying(): void {
    this.#retries = false;
    this.#decide();
  }

  /** Every bound has passed; returns the replicas that never answered. Leaves a final verdict. */
  expire(): number[] {
    this.#retries = false;
    const silent = this.#fail('pending');
    this.#decide();
    return silent;
  }

  #needed(replicas: number): number {
    return this.#policy === 'strict' ? replicas : Math.min(QUORUM, replicas);
  }

  #move(replica: number, state: ReplicaState): void {
    if (this.#replicas[replica] !== 'pending') return;
    this.#replicas[replica] = state;
    this.#decide();
  }

  #fail(from: ReplicaState): number[] {
    const replicas = this.#where(from);
    for (const replica of replicas) this.#replicas[replica] = 'unable';
    this.#decide();
    return replicas;
  }

  #decide(): void {
    if (this.#verdict.kind !== 'waiting') return;
    const acked = this.#count('acked');
    const total = this.#replicas.length;
    if (acked === total && acked >= QUORUM) {
      this.#verdict = SAFE;
      return;
    }
    const pending = this.#count('pending');
    const enough = this.#policy === 'degraded' && acked >= QUORUM;
    if (enough && pending === 0) {
      this.#verdict = { kind: 'degraded', missing: this.#others('acked') };
      return;
    }
    const retryable = this.#retries ? this.#count('unable') + this.#count('idle') : 0;
    const possible = acked + pending + retryable;
    const needed = Math.max(QUORUM, this.#needed(total));
    if (!enough && possible < needed) {
      // Lack of space is the reason when it alone would have been enough to spoil the block.
      const full = total - this.#count('full') < needed;
      this.#verdict = { kind: 'refused', reason: full ? 'full' : 'unavailable' };
    }
  }

  #count(state: ReplicaState): number {
    let count = 0;
    for (const replica of this.#replicas) if (replica === state) count++;
    return count;
  }

  #where(state: ReplicaState): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.#replicas.length; i++) if (this.#replicas[i] === state) found.push(i);
    return found;
  }

  #others(state: ReplicaState): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.#replicas.length; i++) if (this.#replicas[i] !== state) found.push(i);
    return found;
  }
}
