/**
 * Is a history of operations on one key linearizable? Wing and Gong's search with Lowe's memo of
 * (what is ordered, state), for histories with deletes and conditional writes, in which states are
 * not unique. An operation whose outcome is unknown may have happened at any time after its call, or
 * not at all.
 *
 * Two rules keep the search short without losing an answer:
 *  - A read that is right now can be ordered now, unless that makes it too late for an optional one:
 *    where it stood later, nothing is different without it.
 *  - An optional operation is tried only right before one that makes a difference of it. If the next
 *    one were as possible without it and led to the same state, the order without it explains as much.
 */

/** The state of a key: the id of what it holds, or null. */
export type State = string | null;

export interface Operation {
  /** Simulated milliseconds. */
  call: number;
  /** Infinity: never answered. */
  return: number;
  /** It may never have happened. */
  optional: boolean;
  /** It never changes the state, whatever that is. */
  readOnly?: boolean | undefined;
  /** The state after it, or undefined when it cannot have happened in this state. */
  step: (state: State) => State | undefined;
  /** For messages. */
  text: string;
}

export type Verdict = 'ok' | 'violation' | 'undecided';

interface Node {
  operation: Operation;
  index: number;
  bit: bigint;
}

/**
 * Searches at most `limit` steps. `ok`: there is an order that respects real time and explains every
 * answer. Operations are ordered one by one: next can be whatever was called before the first return
 * of those that are left.
 */
export function checkLinearizable(
  operations: readonly Operation[],
  initial: State = null,
  limit = 200_000,
): Verdict {
  const nodes: Node[] = [...operations]
    .sort((a, b) => a.call - b.call || a.return - b.return)
    .map((operation, index) => ({ operation, index, bit: 1n << BigInt(index) }));
  const required = nodes.reduce(
    (sum, { operation, bit }) => (operation.optional ? sum : sum | bit),
    0n,
  );
  const seen = new Set<string>();
  let steps = 0;

  /** An explicit stack: histories may be long. */
  interface Frame {
    done: bigint;
    state: State;
    /** After an optional operation: the state before it. */
    before: { state: State } | undefined;
    candidates: Node[];
    next: number;
  }
  const open = (done: bigint, state: State, before?: { state: State }): Frame => {
    let first = Number.POSITIVE_INFINITY;
    const candidates: Node[] = [];
    for (const node of nodes) {
      if ((done & node.bit) !== 0n) continue;
      if (node.operation.call > first) break;
      candidates.push(node);
      if (!node.operation.optional) first = Math.min(first, node.operation.return);
    }
    const possible = candidates.filter(({ operation }) => operation.call <= first);
    const read = possible.find((node) => {
      const { readOnly, step } = node.operation;
      return readOnly === true && step(state) !== undefined && lapsed(nodes, done, node) === 0n;
    });
    if (read !== undefined) return { done, state, before, candidates: [read], next: 0 };
    // What must happen first is the better guess.
    possible.sort((a, b) => a.operation.return - b.operation.return);
    return { done, state, before, candidates: possible, next: 0 };
  };

  const stack: Frame[] = [open(0n, initial)];
  while (stack.length > 0) {
    const frame = stack.at(-1);
    if (frame === undefined) break;
    if ((frame.done & required) === required) return 'ok';
    const node = frame.candidates[frame.next++];
    if (node === undefined) {
      stack.pop();
      continue;
    }
    if (++steps > limit) return 'undecided';
    // An optional one that returned before others were called has happened by then, or never will.
    const after = node.operation.step(frame.state);
    if (after === undefined) continue;
    if (node.operation.optional && after === frame.state) continue;
    const { before } = frame;
    if (before !== undefined && node.operation.step(before.state) === after) continue;
    const done = frame.done | node.bit | lapsed(nodes, frame.done | node.bit, node);
    const whole = `${done.toString(36)} ${after ?? ''}`;
    // Without the rule for what follows, everything is tried that would be tried with it.
    if (seen.has(whole)) continue;
    if (node.operation.optional) {
      const memo = `${whole} ${frame.state ?? ''}/`;
      if (seen.has(memo)) continue;
      seen.add(memo);
      stack.push(open(done, after, { state: frame.state }));
    } else {
      seen.add(whole);
      stack.push(open(done, after));
    }
  }
  return 'violation';
}

/** Optional operations that ended before `node` was called: too late for them now. */
function lapsed(nodes: readonly Node[], done: bigint, node: Node): bigint {
  let mask = 0n;
  for (const { operation, bit } of nodes) {
    if (operation.optional && operation.return < node.operation.call && (done & bit) === 0n) {
      mask |= bit;
    }
  }
  return mask;
}
