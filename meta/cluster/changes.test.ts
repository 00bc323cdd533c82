import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LayoutChange } from '../admin-protocol.ts';
import { applyChanges, describePlan, planNext, type Situation } from './changes.ts';
import { planLayout } from './layout.ts';
import type { NodeState } from './nodes.ts';
import { newNodeRow } from './rows.ts';

const TB = 1e12;

function state(n: number, changes: Partial<NodeState> = {}): NodeState {
  const said = { address: `a:${n}`, zone: `z${n}`, capacityBytes: TB };
  return {
    id: `n${n}`,
    row: newNodeRow(said),
    zone: `z${n}`,
    up: true,
    beats: true,
    full: false,
    capacityBytes: TB,
    freeBytes: TB,
    silentMs: 0,
    heard: true,
    ...changes,
  };
}

/** `placed` nodes in the layout and two spares. */
function situation(placed: number, changes: Record<number, Partial<NodeState>> = {}): Situation {
  const all = Array.from({ length: placed + 2 }, (_, index) =>
    state(index + 1, changes[index + 1]),
  );
  const nodes = all.slice(0, placed).map(({ id, zone }) => ({ id, zone, weight: TB }));
  return { newest: planLayout({ epoch: 4, groups: 60, nodes }), previous: [], nodes: all };
}

function plan(where: Situation, ...changes: LayoutChange[]) {
  const set = applyChanges(where, changes);
  const next = planNext(where.newest, set.placed);
  return { set, next, shown: describePlan(where, changes, set, next, 1000) };
}

const refused = (where: Situation, change: LayoutChange, why: RegExp) =>
  assert.throws(() => plan(where, change), why);

describe('changes of the layout', () => {
  it('show what moves where, and the next epoch', () => {
    const { shown } = plan(situation(3), { kind: 'add', node: 'n4' });
    assert.equal(shown.epoch, 5);
    assert.equal(shown.movedReplicas, 45);
    assert.equal(shown.movedBytes, 45_000);
    const counts = shown.nodes.map(({ groupsBefore, groupsAfter }) => [groupsBefore, groupsAfter]);
    assert.deepEqual(counts, [
      [60, 45],
      [60, 45],
      [60, 45],
      [0, 45],
    ]);
    assert.deepEqual(shown.warnings, []);
  });

  it('come together in their order', () => {
    const { set, next } = plan(
      situation(4),
      { kind: 'add', node: 'n5' },
      { kind: 'drain', node: 'n1' },
      { kind: 'undrain', node: 'n1' },
      { kind: 'drain', node: 'n2' },
    );
    assert.equal(set.rows.get('n1')?.draining, false);
    assert.equal(next.nodes.find(({ id }) => id === 'n1')?.weight, TB);
    assert.equal(next.nodes.find(({ id }) => id === 'n2')?.weight, 0);
  });

  it('that empty a node leave it in the layout without groups, if there are others for them', () => {
    const enough = plan(situation(4), { kind: 'drain', node: 'n1' });
    assert.equal(enough.shown.nodes[0]?.groupsAfter, 0);
    assert.deepEqual(enough.shown.warnings, []);
    const few = plan(situation(3), { kind: 'drain', node: 'n1' });
    assert.match(few.shown.warnings.join(), /n1 keeps 60 of its 60 groups.*Add a node first/);
  });

  it('empty a node that is the only one of its zone, if the other zones have room', () => {
    const zones = { 2: { zone: 'z1' }, 4: { zone: 'z3' } };
    const where = situation(4, zones);
    const nodes = where.nodes.slice(0, 4).map(({ id, zone }) => ({ id, zone, weight: TB }));
    const newest = planLayout({ epoch: 4, groups: 60, nodes });
    const { shown } = plan(
      { ...where, newest },
      { kind: 'drain', node: 'n3' },
      { kind: 'drain', node: 'n4' },
    );
    assert.match(shown.warnings.join(), /Only 1 zones are left/);
    const one = plan(
      { ...where, newest },
      { kind: 'zone', node: 'n4', zone: 'z2' },
      { kind: 'drain', node: 'n3' },
    );
    assert.equal(one.shown.nodes[2]?.groupsAfter, 0);
  });

  it('forget a dead node without force when it had been emptied', () => {
    const where = situation(4);
    const drained = plan(where, { kind: 'drain', node: 'n1' });
    const nodes = where.nodes.map((node) => (node.id === 'n1' ? { ...node, up: false } : node));
    const { set } = plan(
      { newest: drained.next, previous: [], nodes },
      { kind: 'remove', node: 'n1' },
    );
    assert.equal(set.rows.get('n1')?.removal, 'gone');
  });

  it('take out a node that answers: its data is moved first; a silent one only when nothing is on it', () => {
    const { set } = plan(situation(4), { kind: 'remove', node: 'n1' });
    assert.equal(set.rows.get('n1')?.removal, 'leaving');
    assert.equal(set.lost.size, 0);
    const silent = { 1: { up: false }, 5: { up: false } };
    refused(situation(4, silent), { kind: 'remove', node: 'n1' }, /only good copy.*force/);
    const forced = plan(situation(4, silent), { kind: 'remove', node: 'n1', force: true });
    assert.equal(forced.set.rows.get('n1')?.removal, 'gone');
    assert.match(forced.shown.warnings.join(), /What only node n1 has is given up/);
    const spare = plan(situation(4, silent), { kind: 'remove', node: 'n5' });
    assert.equal(spare.set.rows.get('n5')?.removal, 'gone');
    refused(
      situation(3),
      { kind: 'remove', node: 'n1' },
      /2 nodes would be left.*add a node first/,
    );
  });

  it('that replace a disk move every group of the node, and nothing else', () => {
    const { shown, set, next } = plan(situation(4, { 2: { up: false } }), {
      kind: 'replace',
      node: 'n2',
    });
    assert.equal(shown.movedReplicas, 45);
    assert.deepEqual([...set.lost], ['n2']);
    assert.equal(set.rows.get('n2')?.replaced, true);
    assert.ok(next.nodes.some(({ id }) => id === 'n2'));
    refused(situation(4), { kind: 'replace', node: 'n2' }, /is alive.*Stop it first/);
    refused(situation(3), { kind: 'replace', node: 'n5' }, /not in the layout/);
  });

  it('set zones and weights, which last', () => {
    const zoned = plan(situation(4), { kind: 'zone', node: 'n4', zone: 'z3' });
    assert.equal(zoned.set.rows.get('n4')?.placedZone, 'z3');
    assert.equal(zoned.next.nodes.find(({ id }) => id === 'n4')?.zone, 'z3');
    const weighed = plan(situation(4), { kind: 'weight', node: 'n4', weight: TB / 2 });
    assert.ok((weighed.shown.nodes[3]?.groupsAfter ?? 0) < 40);
    const slip = plan(situation(4), { kind: 'weight', node: 'n4', weight: 2 });
    assert.match(slip.shown.warnings.join(), /n4 gets next to nothing/);
    refused(situation(4), { kind: 'zone', node: 'n4', zone: 'a b' }, /a zone is/);
    refused(situation(4), { kind: 'weight', node: 'n4', weight: -1 }, /above 0/);
  });

  it('warn when zones get few, when disks may get full, and when nodes do not answer', () => {
    const zones = plan(situation(3), { kind: 'zone', node: 'n3', zone: 'z1' });
    assert.match(zones.shown.warnings.join(), /Only 2 zones are left/);
    const full = plan(situation(3, { 4: { freeBytes: 10 } }), { kind: 'add', node: 'n4' });
    assert.match(full.shown.warnings.join(), /n4 may get full/);
    const silent = plan(situation(3, { 2: { up: false } }), { kind: 'add', node: 'n4' });
    assert.match(silent.shown.warnings.join(), /n2 does not answer/);
  });

  it('are refused when they make no sense, with what to do', () => {
    refused(situation(3), { kind: 'add', node: 'n9' }, /there is no node n9: start it/);
    refused(situation(3), { kind: 'add', node: 'n1' }, /in the layout already/);
    refused(
      situation(3, { 4: { up: false } }),
      { kind: 'add', node: 'n4' },
      /start it, then add it/,
    );
    refused(situation(3), { kind: 'drain', node: 'n4' }, /not in the layout: add it first/);
    refused(situation(3), { kind: 'undrain', node: 'n1' }, /not being drained/);
  });
});
