import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Layout } from '../protocol.ts';
import { planLayout } from './layout.ts';
import { changesOf, isComplete, membersOf } from './moves.ts';

const GROUPS = 16;

/** Layouts that follow each other, oldest first, on changing sets of nodes. */
const historyArbitrary: fc.Arbitrary<Layout[]> = fc
  .array(fc.uniqueArray(fc.nat(6), { minLength: 3, maxLength: 6 }), { minLength: 1, maxLength: 5 })
  .map((sets) => {
    const layouts: Layout[] = [];
    for (const [index, ids] of sets.entries()) {
      const nodes = ids.map((id) => ({ id: `n${id}`, zone: `z${id}`, weight: 1 }));
      layouts.push(
        planLayout({ epoch: index + 1, groups: GROUPS, nodes, previous: layouts.at(-1) }),
      );
    }
    return layouts;
  });

/** Newest first, as the metadata service keeps them. */
function split(history: readonly Layout[]): { newest: Layout; previous: Layout[] } {
  const [newest, ...previous] = [...history].reverse();
  assert.ok(newest);
  return { newest, previous };
}

describe('the moves of a layout change', () => {
  it('together with writes, give every node of a group every block, and name no block twice', () => {
    fc.assert(
      fc.property(historyArbitrary, (history) => {
        const { newest, previous } = split(history);
        const changes = new Map(changesOf(newest, previous).map((one) => [one.group, one]));
        for (let group = 0; group < GROUPS; group++) {
          for (const node of membersOf(newest, group)) {
            const move = changes.get(group)?.moves.find((one) => one.node === node);
            // A block is written by one layout, to its nodes. Moves bring what came before `since`.
            for (const layout of history) {
              const written = membersOf(layout, group).includes(node);
              const moved = move !== undefined && layout.epoch < move.since;
              assert.ok(written || moved, `group ${group}, ${node}, epoch ${layout.epoch}`);
            }
            // By `since` and later layouts blocks come by themselves.
            for (const layout of history) {
              if (move === undefined || layout.epoch < move.since) continue;
              assert.ok(membersOf(layout, group).includes(node));
            }
          }
        }
      }),
    );
  });

  it('stay done whatever follows, as long as the node keeps the group, and begin anew if it does not', () => {
    fc.assert(
      fc.property(historyArbitrary, historyArbitrary, (history, more) => {
        const before = split(history);
        const done = changesOf(before.newest, before.previous).flatMap(({ moves }) => moves);
        const longer = [...history];
        for (const { nodes } of more) {
          const previous = longer.at(-1);
          const epoch = longer.length + 1;
          longer.push(planLayout({ epoch, groups: GROUPS, nodes, previous }));
        }
        const now = split(longer);
        const open = changesOf(now.newest, now.previous).flatMap(({ moves }) => moves);
        for (const { group, node, since } of done) {
          const kept = longer
            .slice(history.length)
            .every((layout) => membersOf(layout, group).includes(node));
          const again = open.find((move) => move.group === group && move.node === node);
          if (kept) assert.equal(again?.since, since);
          else if (again !== undefined) assert.ok(again.since > before.newest.epoch);
        }
      }),
    );
  });

  it('say who gives a group up: every node of an older layout that has it no more', () => {
    fc.assert(
      fc.property(historyArbitrary, (history) => {
        const { newest, previous } = split(history);
        const leavers = new Map(changesOf(newest, previous).map((one) => [one.group, one.leavers]));
        for (let group = 0; group < GROUPS; group++) {
          const owners = membersOf(newest, group);
          const holders = new Set(previous.flatMap((layout) => membersOf(layout, group)));
          const expected = [...holders].filter((node) => !owners.includes(node));
          assert.deepEqual(new Set(leavers.get(group)), new Set(expected));
        }
      }),
    );
  });
});

describe('the lists of a group', () => {
  const change = {
    group: 0,
    owners: ['d', 'e', 'f'],
    moves: [],
    leavers: [],
    older: [['a', 'b', 'c']],
  };
  const listed = (...ids: string[]) => new Set(ids);
  const nobody = () => false;

  it('are complete when two of the three nodes of every older layout have told', () => {
    assert.ok(isComplete(change, listed('a', 'c'), nobody));
    assert.ok(!isComplete(change, listed('a'), nobody));
    assert.ok(!isComplete(change, listed('a', 'd', 'e'), nobody));
    const two = {
      ...change,
      older: [
        ['a', 'b', 'c'],
        ['c', 'd', 'e'],
      ],
    };
    assert.ok(!isComplete(two, listed('a', 'b'), nobody));
    assert.ok(isComplete(two, listed('a', 'c', 'd'), nobody));
  });

  it('take all that are left when nodes are gone for good, and never less because some are silent', () => {
    const gone =
      (...ids: string[]) =>
      (id: string) =>
        ids.includes(id);
    assert.ok(isComplete(change, listed('a'), gone('b', 'c')));
    assert.ok(!isComplete(change, listed(), gone('b', 'c')));
    assert.ok(!isComplete(change, listed('a'), gone('b')));
    assert.ok(isComplete(change, listed(), gone('a', 'b', 'c')));
  });
});
