/** What clients did and saw, per key, and whether one order of events explains it. */
import { checkLinearizable, type Operation, type State } from './linearizable.ts';

/** Values of objects by id; ids are never used twice. */
export interface Value {
  content: Buffer;
  etag: string;
}

export interface Condition {
  ifNoneMatch?: '*' | undefined;
  ifMatch?: string | undefined;
}

export class History {
  readonly values = new Map<string, Value>();
  readonly #operations = new Map<string, Operation[]>();
  /** Operations whose outcome is unknown have happened by then, or never will. */
  settledBy = Number.POSITIVE_INFINITY;
  #count = 0;

  get keys(): string[] {
    return [...this.#operations.keys()];
  }

  get operations(): number {
    return [...this.#operations.values()].reduce((sum, list) => sum + list.length, 0);
  }

  newId(): string {
    this.#count += 1;
    return `v${this.#count}`;
  }

  etagOf(state: State): string | undefined {
    return state === null ? undefined : this.values.get(state)?.etag;
  }

  holds(condition: Condition, state: State): boolean {
    if (condition.ifNoneMatch !== undefined) return state === null;
    if (condition.ifMatch === undefined) return true;
    if (condition.ifMatch === '*') return state !== null;
    return state !== null && this.etagOf(state) === condition.ifMatch;
  }

  wrote(key: string, call: number, end: number, id: string, condition: Condition): void {
    const step = (state: State) => (this.holds(condition, state) ? id : undefined);
    this.#add(key, { call, return: end, optional: false, step, text: `put ${id}` });
  }

  /** A write that nobody answered. */
  maybeWrote(key: string, call: number, id: string, condition: Condition): void {
    const step = (state: State) => (this.holds(condition, state) ? id : undefined);
    this.#addOpen(key, { call, step, text: `put ${id}?` });
  }

  read(key: string, call: number, end: number, id: State): void {
    const step = (state: State) => (state === id ? state : undefined);
    this.#add(key, {
      call,
      return: end,
      optional: false,
      step,
      text: `read ${id ?? 'nothing'}`,
      readOnly: true,
    });
  }

  /** A read that shows only the ETag: a listing. */
  sawEtag(key: string, call: number, end: number, etag: string | undefined): void {
    const step = (state: State) => (this.etagOf(state) === etag ? state : undefined);
    const text = `listed ${etag ?? 'not'}`;
    this.#add(key, { call, return: end, optional: false, step, text, readOnly: true });
  }

  /** A conditional request was refused: the condition did not hold; `missing`: there was nothing. */
  refused(key: string, call: number, end: number, condition: Condition, missing: boolean): void {
    const step = (state: State) => {
      if (missing) return state === null ? state : undefined;
      return this.holds(condition, state) ? undefined : state;
    };
    this.#add(key, { call, return: end, optional: false, step, text: 'refused', readOnly: true });
  }

  /** `existed` as answered. */
  deleted(key: string, call: number, end: number, existed: boolean, condition: Condition): void {
    const step = (state: State) => {
      if ((state !== null) !== existed) return undefined;
      return existed && !this.holds(condition, state) ? undefined : null;
    };
    const text = `deleted ${existed ? 'it' : 'nothing'}`;
    const readOnly = !existed;
    this.#add(key, { call, return: end, optional: false, step, text, readOnly });
  }

  maybeDeleted(key: string, call: number, condition: Condition): void {
    const step = (state: State) =>
      state !== null && this.holds(condition, state) ? null : undefined;
    this.#addOpen(key, { call, step, text: 'deleted?' });
  }

  /** At some time after `call`, or never, the lifecycle job removes this very value. */
  mayExpire(key: string, call: number, id: string): void {
    const step = (state: State) => (state === id ? null : undefined);
    const end = Number.MAX_VALUE;
    this.#add(key, { call, return: end, optional: true, step, text: `expired ${id}?` });
  }

  /** Checks every key. Returns what is wrong, and how many keys took too long to decide. */
  check(): { violations: string[]; undecided: number } {
    const violations: string[] = [];
    let undecided = 0;
    for (const [key, operations] of this.#operations) {
      const bounded = operations.map((operation) =>
        operation.return === Number.POSITIVE_INFINITY
          ? { ...operation, return: this.settledBy }
          : operation,
      );
      const verdict = checkLinearizable(bounded);
      if (verdict === 'undecided') undecided++;
      if (verdict === 'violation') {
        violations.push(
          `no order explains what was seen of ${key}:\n${this.#describe(operations)}`,
        );
      }
    }
    return { violations, undecided };
  }

  #add(key: string, operation: Operation): void {
    const list = this.#operations.get(key);
    if (list === undefined) this.#operations.set(key, [operation]);
    else list.push(operation);
  }

  #addOpen(key: string, { call, step, text }: Pick<Operation, 'call' | 'step' | 'text'>): void {
    this.#add(key, { call, return: Number.POSITIVE_INFINITY, optional: true, step, text });
  }

  #describe(operations: readonly Operation[]): string {
    return [...operations]
      .sort((a, b) => a.call - b.call)
      .map(({ call, return: end, text }) => `  ${call.toFixed(1)} – ${end.toFixed(1)} ${text}`)
      .join('\n');
  }
}
