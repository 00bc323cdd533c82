import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type WritePolicy,
  type WriteProblem,
  WriteQuorum,
  type WriteVerdict,
} from './write-quorum.ts';

const PROBLEMS: WriteProblem[] = ['unable', 'full', 'rejected'];
const POLICIES: WritePolicy[] = ['degraded', 'strict'];

type State = 'idle' | 'pending' | 'acked' | WriteProblem;
type Event =
  | { kind: 'acked'; replica: number }
  | { kind: 'failed'; replica: number; problem: WriteProblem }
  | { kind: 'retry' | 'stopLingering' | 'stopRetrying' | 'expire' };

/** What the rules say, written down a second time and without regard to how it is computed. */
interface Model {
  states: State[];
  retries: boolean;
  verdict: WriteVerdict;
}

const EVENTS: Event[] = [
  ...[0, 1, 2].map((replica): Event => ({ kind: 'acked', replica })),
  ...[0, 1, 2].flatMap((replica) =>
    PROBLEMS.map((problem): Event => ({ kind: 'failed', replica, problem })),
  ),
  { kind: 'retry' },
  { kind: 'stopLingering' },
  { kind: 'stopRetrying' },
  { kind: 'expire' },
];

function applied(machine: WriteQuorum, event: Event): void {
  if (event.kind === 'acked') machine.acked(event.replica);
  else if (event.kind === 'failed') machine.failed(event.replica, event.problem);
  else machine[event.kind]();
}

function count(states: State[], ...kinds: State[]): number {
  return states.filter((state) => kinds.includes(state)).length;
}

function judged(policy: WritePolicy, { states, retries }: Model): WriteVerdict {
  const acks = count(states, 'acked');
  if (acks === 3) return { kind: 'safe' };
  const mayStillAck = count(states, 'pending') + (retries ? count(states, 'unable', 'idle') : 0);
  if (policy === 'degraded' && acks === 2) {
    const missing = [0, 1, 2].filter((replica) => states[replica] !== 'acked');
    return count(states, 'pending') > 0 ? { kind: 'waiting' } : { kind: 'degraded', missing };
  }
  if (acks + mayStillAck >= (policy === 'strict' ? 3 : 2)) return { kind: 'waiting' };
  const full = count(states, 'full') > (policy === 'strict' ? 0 : 1);
  return { kind: 'refused', reason: full ? 'full' : 'unavailable' };
}

function stepped(policy: WritePolicy, before: Model, event: Event): Model {
  const model: Model = { ...before, states: [...before.states] };
  const waiting = before.verdict.kind === 'waiting';
  const lingering = waiting && policy === 'degraded' && count(before.states, 'acked') === 2;
  const turn = (from: State[], to: State) => {
    model.states = model.states.map((state) => (from.includes(state) ? to : state));
  };
  if (event.kind === 'acked' || event.kind === 'failed') {
    const to = event.kind === 'acked' ? 'acked' : event.problem;
    if (model.states[event.replica] === 'pending') model.states[event.replica] = to;
  } else if (event.kind === 'retry') {
    if (waiting && model.retries && !lingering) turn(['unable', 'idle'], 'pending');
  } else if (event.kind === 'stopLingering') {
    if (lingering) turn(['pending'], 'unable');
  } else {
    model.retries = false;
    if (event.kind === 'expire') turn(['pending'], 'unable');
  }
  if (waiting) model.verdict = judged(policy, model);
  return model;
}

function begun(policy: WritePolicy, usable: boolean[]): Model {
  const enough = usable.filter(Boolean).length >= (policy === 'strict' ? 3 : 2);
  const states = usable.map((up): State => (up || !enough ? 'pending' : 'idle'));
  return { states, retries: true, verdict: { kind: 'waiting' } };
}

/** Every state that any sequence of events can reach, each with one way to get there. */
function* reachable(
  policy: WritePolicy,
): Generator<{ usable: boolean[]; path: Event[]; model: Model }> {
  const seen = new Set<string>();
  const queue: { usable: boolean[]; path: Event[]; model: Model }[] = [];
  const visit = (usable: boolean[], path: Event[], model: Model) => {
    const name = JSON.stringify([model]);
    if (seen.has(name)) return;
    seen.add(name);
    queue.push({ usable, path, model });
  };
  for (let bits = 0; bits < 8; bits++) {
    const usable = [0, 1, 2].map((replica) => (bits & (1 << replica)) !== 0);
    visit(usable, [], begun(policy, usable));
  }
  for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
    yield entry;
    for (const event of EVENTS) {
      visit(entry.usable, [...entry.path, event], stepped(policy, entry.model, event));
    }
  }
}

for (const policy of POLICIES) {
  test(`policy ${policy}: every reachable state gives the verdict that the rules ask for`, () => {
    let states = 0;
    for (const { usable, path, model } of reachable(policy)) {
      const machine = new WriteQuorum(policy, usable);
      for (const event of path) applied(machine, event);
      const where = `${JSON.stringify(usable)} ${JSON.stringify(path)}`;
      assert.deepEqual(machine.verdict, model.verdict, where);
      const pending = [0, 1, 2].filter((replica) => model.states[replica] === 'pending');
      assert.deepEqual(machine.pending, pending, where);
      states++;
    }
    assert.ok(states > 100, `only ${states} states were reached`);
  });

  test(`policy ${policy}: no state accepts a block that fewer than two nodes hold`, () => {
    for (const { model } of reachable(policy)) {
      const acks = count(model.states, 'acked');
      const { kind } = model.verdict;
      if (kind === 'degraded') assert.ok(policy === 'degraded' && acks === 2);
      if (kind === 'safe') assert.equal(acks, 3);
    }
  });

  test(`policy ${policy}: expiry leaves a final verdict in every state`, () => {
    for (const { usable, path } of reachable(policy)) {
      const machine = new WriteQuorum(policy, usable);
      for (const event of path) applied(machine, event);
      machine.expire();
      assert.notEqual(machine.verdict.kind, 'waiting', JSON.stringify(path));
    }
  });

  test(`policy ${policy}: a block that waits can always be moved on by an answer or a retry`, () => {
    for (const { usable, path } of reachable(policy)) {
      const machine = new WriteQuorum(policy, usable);
      for (const event of path) applied(machine, event);
      if (machine.verdict.kind !== 'waiting') continue;
      assert.ok(machine.pending.length > 0 || machine.wantsRetry, JSON.stringify(path));
    }
  });
}

test('a suspect node is not asked while the other two are enough', () => {
  const machine = new WriteQuorum('degraded', [true, false, true]);
  assert.deepEqual(machine.pending, [0, 2]);
  machine.acked(0);
  machine.acked(2);
  assert.deepEqual(machine.verdict, { kind: 'degraded', missing: [1] });
});

test('every node is asked when the good ones alone are too few', () => {
  assert.deepEqual(new WriteQuorum('degraded', [true, false, false]).pending, [0, 1, 2]);
  assert.deepEqual(new WriteQuorum('strict', [true, true, false]).pending, [0, 1, 2]);
});

test('a late acknowledgement does not change a verdict', () => {
  const machine = new WriteQuorum('degraded', [true, true, true]);
  machine.acked(0);
  machine.acked(1);
  assert.ok(machine.lingering);
  assert.deepEqual(machine.stopLingering(), [2]);
  machine.acked(2);
  assert.deepEqual(machine.verdict, { kind: 'degraded', missing: [2] });
});
