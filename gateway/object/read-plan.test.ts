import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadPlan, type ReadProblem } from './read-plan.ts';

type Nature = 'sound' | ReadProblem | 'silent';
const NATURES: Nature[] = ['sound', 'corrupt', 'missing', 'unreachable', 'silent'];

/**
 * Plays one block whose replicas have the given natures. `choose` picks what happens next; a silent
 * replica never answers. Ends when nothing is left to happen, giving up as a time-out would.
 */
function played(natures: Nature[], choose: (choices: number) => number): ReadPlan {
  const plan = new ReadPlan(natures.length);
  const asked = new Set<number>();
  let retried = false;
  const ask = (replica: number | undefined) => {
    if (replica === undefined) return;
    assert.ok(!asked.has(replica) || retried, 'a replica is asked twice only by a retry');
    asked.add(replica);
  };
  ask(plan.ask());
  while (plan.verdict.kind === 'waiting' || plan.verdict.kind === 'stuck') {
    const answers = plan.silent.filter((replica) => natures[replica] !== 'silent');
    const hedge = plan.canHedge ? 1 : 0;
    const retry = plan.verdict.kind === 'stuck' && !retried ? 1 : 0;
    if (answers.length + hedge + retry === 0) break;
    const choice = choose(answers.length + hedge + retry);
    const replica = answers[choice];
    if (replica !== undefined) {
      const nature = natures[replica];
      if (nature === 'sound') plan.served(replica);
      else if (nature !== undefined && nature !== 'silent') ask(plan.failed(replica, nature));
    } else if (retry > 0) {
      retried = true;
      ask(plan.retry());
    } else {
      ask(plan.ask());
    }
  }
  plan.giveUp();
  return plan;
}

/** All sequences of choices, one after the other. */
function everyCourse(natures: Nature[], check: (plan: ReadPlan) => void): number {
  let courses = 0;
  const script: { choice: number; of: number }[] = [];
  for (;;) {
    let step = 0;
    const plan = played(natures, (choices) => {
      const known = script[step];
      step++;
      if (known !== undefined) return known.choice;
      script.push({ choice: 0, of: choices });
      return 0;
    });
    check(plan);
    courses++;
    while (script.length > 0) {
      const last = script.at(-1);
      if (last !== undefined && ++last.choice < last.of) break;
      script.pop();
    }
    if (script.length === 0) return courses;
  }
}

test('every mix of three replicas ends right in every order of answers, hedges and retries', () => {
  let courses = 0;
  for (const a of NATURES)
    for (const b of NATURES)
      for (const c of NATURES) {
        const natures = [a, b, c];
        courses += everyCourse(natures, (plan) => {
          const { verdict } = plan;
          const where = natures.join(' ');
          if (natures.includes('sound')) {
            assert.equal(verdict.kind, 'served', where);
          } else {
            const known = natures.every((nature) => nature === 'corrupt' || nature === 'missing');
            const reason = known ? 'corrupt' : 'unavailable';
            assert.deepEqual(verdict, { kind: 'failed', reason }, where);
          }
          if (verdict.kind !== 'served') return;
          assert.equal(natures[verdict.by], 'sound', where);
          for (const { replica, reason } of verdict.repair)
            assert.equal(natures[replica], reason, where);
        });
      }
  assert.ok(courses > 500, `only ${courses} courses`);
});

test('only one replica is asked as long as it may still answer', () => {
  const plan = new ReadPlan(3);
  assert.equal(plan.ask(), 0);
  assert.deepEqual(plan.silent, [0]);
  assert.equal(plan.failed(0, 'missing'), 1);
  plan.served(1);
  assert.deepEqual(plan.verdict, {
    kind: 'served',
    by: 1,
    repair: [{ replica: 0, reason: 'missing' }],
  });
});

test('a failed replica is not replaced while a hedge is still out', () => {
  const plan = new ReadPlan(3);
  plan.ask();
  assert.ok(plan.canHedge);
  assert.equal(plan.ask(), 1);
  assert.equal(plan.failed(0, 'unreachable'), undefined);
  assert.equal(plan.failed(1, 'unreachable'), 2);
});

test('a retry asks only replicas that were unreachable', () => {
  const plan = new ReadPlan(3);
  plan.ask();
  plan.failed(0, 'corrupt');
  plan.failed(1, 'unreachable');
  plan.failed(2, 'missing');
  assert.equal(plan.verdict.kind, 'stuck');
  assert.equal(plan.retry(), 1);
  plan.failed(1, 'unreachable');
  plan.giveUp();
  assert.deepEqual(plan.verdict, { kind: 'failed', reason: 'unavailable' });
});
