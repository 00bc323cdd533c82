/**
 * Which replica to ask next? A pure state machine over one block's replicas, best first. It knows no
 * clock: the caller says when a hedge or another try is due.
 *
 * Absence is not proof: a replica that cannot be reached is neither missing nor corrupt, so as long
 * as one of them is silent the block counts as unavailable, not as lost.
 */

/** `corrupt`, `missing`: what the replica itself said. `unreachable`: no (usable) answer. */
export type ReadProblem = 'corrupt' | 'missing' | 'unreachable';

export type ReadVerdict =
  | { kind: 'waiting' }
  | { kind: 'served'; by: number; repair: { replica: number; reason: 'corrupt' | 'missing' }[] }
  /** Nobody is left to ask for the moment; `retry` may be called later. */
  | { kind: 'stuck' }
  | { kind: 'failed'; reason: 'unavailable' | 'corrupt' };

type ReplicaState = 'untried' | 'asked' | 'served' | ReadProblem;

const WAITING: ReadVerdict = { kind: 'waiting' };
const STUCK: ReadVerdict = { kind: 'stuck' };

export class ReadPlan {
  readonly #replicas: ReplicaState[];
  #asked = 0;
  #verdict: ReadVerdict = WAITING;

  /** `count` replicas, in the order in which they are to be asked. */
  constructor(count: number) {
    this.#replicas = Array.from({ length: count }, (): ReplicaState => 'untried');
    if (count === 0) this.#verdict = { kind: 'failed', reason: 'unavailable' };
  }

  /** Final when `served` or `failed`. */
  get verdict(): ReadVerdict {
    return this.#verdict;
  }

  /** Replicas that were asked and are silent. */
  get silent(): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.#replicas.length; i++)
      if (this.#replicas[i] === 'asked') found.push(i);
    return found;
  }

  /** True when a hedge would ask someone: one is asked and silent, another one is left. */
  get canHedge(): boolean {
    return this.#asked > 0 && this.#verdict.kind === 'waiting' && this.#has('untried');
  }

  /** The next replica to ask, now counted as asked: the first one, or one more beside a silent one. */
  ask(): number | undefined {
    if (this.#verdict.kind !== 'waiting') return undefined;
    const next = this.#replicas.indexOf('untried');
    if (next < 0) return undefined;
    this.#replicas[next] = 'asked';
    this.#asked++;
    return next;
  }

  served(replica: number): void {
    if (!this.#answer(replica, 'served')) return;
    const repair: { replica: number; reason: 'corrupt' | 'missing' }[] = [];
    for (let i = 0; i < this.#replicas.length; i++) {
      const state = this.#replicas[i];
      if (state === 'corrupt' || state === 'missing') repair.push({ replica: i, reason: state });
    }
    this.#verdict = { kind: 'served', by: replica, repair };
  }

  /** Returns the replica to ask instead, now counted as asked, unless another one is still asked. */
  failed(replica: number, problem: ReadProblem): number | undefined {
    if (!this.#answer(replica, problem) || this.#asked > 0) return undefined;
    const next = this.ask();
    if (next === undefined) this.#exhausted();
    return next;
  }

  /** Another try, when stuck: asks the replicas that were unreachable, the first of them now. */
  retry(): number | undefined {
    if (this.#verdict.kind !== 'stuck') return undefined;
    this.#verdict = WAITING;
    for (let i = 0; i < this.#replicas.length; i++) {
      if (this.#replicas[i] === 'unreachable') this.#replicas[i] = 'untried';
    }
    return this.ask();
  }

  /** No more tries: whatever is not served is failed. */
  giveUp(): void {
    const kind = this.#verdict.kind;
    if (kind === 'served' || kind === 'failed') return;
    const known = this.#replicas.every((state) => state === 'corrupt' || state === 'missing');
    this.#verdict = { kind: 'failed', reason: known ? 'corrupt' : 'unavailable' };
  }

  /** False when the answer does not count: late, or not asked for. */
  #answer(replica: number, state: ReplicaState): boolean {
    if (this.#verdict.kind !== 'waiting' || this.#replicas[replica] !== 'asked') return false;
    this.#replicas[replica] = state;
    this.#asked--;
    return true;
  }

  #exhausted(): void {
    if (this.#has('unreachable')) this.#verdict = STUCK;
    else this.giveUp();
  }

  #has(state: ReplicaState): boolean {
    return this.#replicas.includes(state);
  }
}
