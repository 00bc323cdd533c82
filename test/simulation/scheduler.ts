/**
 * Simulated time: a heap of events by (time, order). After each event everything that is ready to run
 * runs (one turn of the real event loop drains all microtasks), so plain async code is deterministic.
 */
import { hashText } from './random.ts';

export interface Scheduled {
  cancel(): void;
}

interface Event {
  at: number;
  order: number;
  label: string;
  run: (() => void) | undefined;
}

export class Scheduler {
  /** Milliseconds since the start of the run. */
  now = 0;
  events = 0;
  /** Over time and label of every event so far: the same for the same seed. */
  hash = 0;
  /** What events threw: bugs, of the code or of the simulation. */
  readonly errors: unknown[] = [];
  /** Called with every event, for traces. */
  onEvent: ((label: string) => void) | undefined;
  readonly #heap: Event[] = [];
  #order = 0;

  at(delayMs: number, label: string, run: () => void): Scheduled {
    const event: Event = { at: this.now + Math.max(0, delayMs), order: this.#order++, label, run };
    this.#push(event);
    return {
      cancel: () => {
        event.run = undefined;
      },
    };
  }

  /** Runs events until `done`, or until `limitMs` have passed, or nothing is left. True: done. */
  run(done: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.now + limitMs;
    return new Promise((resolve) => {
      const turn = (): void => {
        if (done() || this.errors.length > 0) return resolve(true);
        const event = this.#next();
        if (event === undefined || event.at > end) {
          if (event !== undefined) this.#push(event);
          this.now = Math.max(this.now, end);
          return resolve(done());
        }
        this.now = event.at;
        this.events++;
        this.hash = hashText(event.label, (this.hash ^ Math.floor(event.at * 1000)) >>> 0);
        this.onEvent?.(event.label);
        try {
          event.run?.();
        } catch (error) {
          this.errors.push(error);
        }
        // The next turn comes after all microtasks of this one.
        setImmediate(turn);
      };
      setImmediate(turn);
    });
  }

  /** The next event that was not cancelled. */
  #next(): Event | undefined {
    for (;;) {
      const event = this.#pop();
      if (event === undefined || event.run !== undefined) return event;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || isBefore(above, event)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      let lesser = left;
      if (right !== undefined && isBefore(right, left)) {
        lesser = right;
        child++;
      }
      if (isBefore(last, lesser)) break;
      heap[at] = lesser;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
