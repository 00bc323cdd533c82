import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isFailure } from '../../base/failure.ts';
import { type Layout, REPLICAS } from '../protocol.ts';
import { idealLoads, movedReplicas, nodesOfGroup, type PlacedNode, planLayout } from './layout.ts';

const GROUPS = 256;

const plan = (nodes: readonly PlacedNode[], previous?: Layout): Layout =>
  planLayout({ epoch: (previous?.epoch ?? 0) + 1, groups: GROUPS, nodes, previous });

function loadsOf(layout: Layout): number[] {
  const loads = layout.nodes.map(() => 0);
  for (let group = 0; group < layout.groups; group++) {
    for (const node of nodesOfGroup(layout, group)) loads[node] = (loads[node] ?? 0) + 1;
  }
  return loads;
}

/** Those that take part: nodes of weight 0 only when there are too few others. */
function placedNodes({ nodes }: { nodes: readonly PlacedNode[] }): readonly PlacedNode[] {
  const able = nodes.filter(({ weight }) => weight > 0);
  return able.length >= REPLICAS ? able : nodes;
}

/** Every group obeys the rules. */
function assertRules(layout: Layout): void {
  assert.equal(layout.assignment.length, layout.groups * REPLICAS * 2);
  const zones = new Set(placedNodes(layout).map((node) => node.zone)).size;
  for (let group = 0; group < layout.groups; group++) {
    const members = nodesOfGroup(layout, group).map((index) => layout.nodes[index]);
    assert.equal(new Set(members.map((node) => node?.id)).size, REPLICAS);
    assert.equal(new Set(members.map((node) => node?.zone)).size, Math.min(zones, REPLICAS));
  }
}

/** Loads are as close to the ideal as `slack` of the node's ideal, and 2. */
function assertBalance(layout: Layout, slack = 0.02): void {
  const placed = placedNodes(layout);
  const ideal = idealLoads(placed, layout.groups);
  for (const [node, load] of loadsOf(layout).entries()) {
    const name = layout.nodes[node]?.id;
    const target = ideal[placed.findIndex(({ id }) => id === name)] ?? 0;
    assert.ok(Math.abs(load - target) <= target * slack + 2, `${name}: ${load} for ${target}`);
  }
}

const nodesArbitrary: fc.Arbitrary<PlacedNode[]> = fc
  .record({
    zones: fc.integer({ min: 1, max: 6 }),
    nodes: fc.array(
      fc.record({
        zone: fc.nat(5),
        weight: fc.oneof(
          fc.constant(1e12),
          fc.integer({ min: 1, max: 8 }).map((tb) => tb * 1e12),
        ),
      }),
      { minLength: 3, maxLength: 20 },
    ),
  })
  .map(({ zones, nodes }) =>
    nodes.map(({ zone, weight }, index) => ({
      id: `node-${index + 1}`,
      zone: `zone-${zone % zones}`,
      weight,
    })),
  );

const changeArbitrary = fc.oneof(
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('add' as const), zone: fc.nat(5), weight: fc.nat(8) }),
  fc.record({ kind: fc.constant('weigh' as const), at: fc.nat(), weight: fc.nat(8) }),
  fc.record({ kind: fc.constant('move' as const), at: fc.nat(), zone: fc.nat(5) }),
);

type Change = typeof changeArbitrary extends fc.Arbitrary<infer T> ? T : never;

function applyChange(nodes: readonly PlacedNode[], change: Change, name: string): PlacedNode[] {
  if (change.kind === 'add') {
    const weight = Math.max(1, change.weight) * 1e12;
    return [...nodes, { id: name, zone: `zone-${change.zone}`, weight }];
  }
  const at = change.at % nodes.length;
  if (change.kind === 'remove') {
    return nodes.length === REPLICAS ? [...nodes] : nodes.filter((_, index) => index !== at);
  }
  return nodes.map((node, index) => {
    if (index !== at) return node;
    if (change.kind === 'move') return { ...node, zone: `zone-${change.zone}` };
    return { ...node, weight: change.weight * 1e12 };
  });
}

/** Replicas that have to move whatever one does: nodes give up what is over their ideal. */
function leastMoves(previous: Layout, next: Layout): number {
  const before = new Map(previous.nodes.map((node, index) => [node.id, index]));
  const had = loadsOf(previous);
  const placed = placedNodes(next);
  const ideal = idealLoads(placed, next.groups);
  return placed.reduce((moves, node, index) => {
    const old = before.get(node.id);
    return moves + Math.max(0, (ideal[index] ?? 0) - (old === undefined ? 0 : (had[old] ?? 0)));
  }, 0);
}

describe('the layout', () => {
  it('puts every group on three nodes, in as many zones as there are, by weight', () => {
    fc.assert(
      fc.property(nodesArbitrary, (nodes) => {
        const layout = plan(nodes);
        assertRules(layout);
        assertBalance(layout);
      }),
    );
  });

  it('keeps the rules and the balance through any series of changes', () => {
    fc.assert(
      fc.property(
        nodesArbitrary,
        fc.array(changeArbitrary, { minLength: 1, maxLength: 6 }),
        (start, changes) => {
          let nodes = start;
          let layout = plan(nodes);
          for (const [index, change] of changes.entries()) {
            nodes = applyChange(nodes, change, `new-${index}`);
            layout = plan(nodes, layout);
            assertRules(layout);
            assertBalance(layout);
          }
        },
      ),
    );
  });

  it('moves little more than the change of the loads makes necessary', () => {
    fc.assert(
      fc.property(nodesArbitrary, changeArbitrary, (nodes, change) => {
        const zones = (list: readonly PlacedNode[]) =>
          new Set(placedNodes({ nodes: list }).map((node) => node.zone)).size;
        const changed = applyChange(nodes, change, 'new');
        // Where the rules themselves change, whole groups have to be laid out anew.
        fc.pre(change.kind !== 'move' && Math.min(zones(nodes), 3) === Math.min(zones(changed), 3));
        const before = plan(nodes);
        const after = plan(changed, before);
        // A place that only a second move can make free counts twice: near full nodes and zones.
        const bound = leastMoves(before, after) * 2 + 8;
        assert.ok(movedReplicas(before, after) <= bound);
      }),
    );
  });

  it('moves nothing when nothing changed', () => {
    fc.assert(
      fc.property(nodesArbitrary, (nodes) => {
        const before = plan(nodes);
        assert.equal(movedReplicas(before, plan(nodes, before)), 0);
      }),
    );
  });

  it('is the same for the same nodes in any order', () => {
    fc.assert(
      fc.property(nodesArbitrary, (nodes) => {
        assert.deepEqual(plan(nodes), plan([...nodes].reverse()));
      }),
    );
  });

  it('gives a new fourth node of the same size a quarter and moves nothing else', () => {
    const nodes = [1, 2, 3].map((n) => ({ id: `node-${n}`, zone: `zone-${n}`, weight: 1e12 }));
    const before = plan(nodes);
    const after = plan([...nodes, { id: 'node-4', zone: 'zone-4', weight: 1e12 }], before);
    assert.equal(movedReplicas(before, after), (GROUPS * REPLICAS) / 4);
    assert.deepEqual(new Set(loadsOf(after)), new Set([(GROUPS * REPLICAS) / 4]));
  });

  it('spreads what a node holds over all others, so that many can help to rebuild it', () => {
    const nodes = Array.from({ length: 12 }, (_, n) => ({
      id: `node-${n}`,
      zone: `zone-${n % 4}`,
      weight: 1e12,
    }));
    const layout = plan(nodes);
    const partners = new Set<number>();
    for (let group = 0; group < GROUPS; group++) {
      const members = nodesOfGroup(layout, group);
      if (members.includes(0)) for (const member of members) partners.add(member);
    }
    // The node itself and all nine nodes in other zones.
    assert.equal(partners.size, 10);
  });

  it('prefers each node for about a third of its groups', () => {
    const nodes = [1, 2, 3, 4, 5].map((n) => ({ id: `node-${n}`, zone: 'a', weight: 1e12 }));
    const layout = plan(nodes);
    const first = layout.nodes.map(() => 0);
    for (let group = 0; group < GROUPS; group++) {
      const preferred = nodesOfGroup(layout, group)[0] ?? 0;
      first[preferred] = (first[preferred] ?? 0) + 1;
    }
    for (const count of first) assert.ok(Math.abs(count - GROUPS / 5) <= 3, String(first));
  });

  it('leaves a node of weight 0 empty when others can take its place', () => {
    const nodes = [1, 2, 3, 4].map((n) => ({
      id: `node-${n}`,
      zone: 'a',
      weight: n === 2 ? 0 : 1e12,
    }));
    assert.deepEqual(loadsOf(plan(nodes)), [GROUPS, 0, GROUPS, GROUPS]);
  });

  it('refuses fewer than three nodes, twins, and weights that are no size', () => {
    const node = (id: string, weight = 1) => ({ id, zone: 'a', weight });
    const invalid = (error: unknown) => isFailure(error, 'invalid');
    assert.throws(() => plan([node('a'), node('b')]), invalid);
    assert.throws(() => plan([node('a'), node('b'), node('b')]), invalid);
    for (const weight of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => plan([node('a'), node('b'), node('c', weight)]), invalid);
    }
  });
});

describe('the ideal loads', () => {
  it('add up, respect the limits, and are proportional to weight where no limit is met', () => {
    fc.assert(
      fc.property(nodesArbitrary, (nodes) => {
        const loads = idealLoads(nodes, GROUPS);
        assert.equal(
          loads.reduce((a, b) => a + b, 0),
          GROUPS * REPLICAS,
        );
        const zones = new Map<string, { load: number; nodes: number }>();
        for (const [index, node] of nodes.entries()) {
          const zone = zones.get(node.zone) ?? { load: 0, nodes: 0 };
          zones.set(node.zone, { load: zone.load + (loads[index] ?? 0), nodes: zone.nodes + 1 });
        }
        const limit = zones.size >= 3 ? 1 : zones.size === 2 ? 2 : 3;
        const free: number[] = [];
        for (const [index, node] of nodes.entries()) {
          const load = loads[index] ?? 0;
          const zone = zones.get(node.zone);
          assert.ok(load <= GROUPS);
          const cap = GROUPS * Math.min(limit, zone?.nodes ?? 0);
          assert.ok((zone?.load ?? 0) <= cap);
          if (load < GROUPS && (zone?.load ?? 0) < cap) free.push(load / node.weight);
        }
        const heaviest = Math.max(...nodes.map((node) => node.weight));
        for (const ratio of free) {
          // One replica up or down by rounding, twice (zone and node).
          assert.ok(Math.abs(ratio - Math.max(...free)) * 1e12 <= 4 + heaviest / 1e12);
        }
      }),
    );
  });
});
