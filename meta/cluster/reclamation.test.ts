import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { makeBlobId } from '../../base/ids.ts';
import type { WriterMarks } from '../protocol.ts';
import { Leases } from './leases.ts';
import { firstReadEpoch, Reclamation } from './reclamation.ts';

/* A small world: gateways read data that others replace, and a collector removes what was replaced. */

interface Read {
  tag: number;
  key: number;
  /** What the metadata said; undefined: the metadata call is still on its way. */
  data: number | undefined;
}

interface Gateway {
  writer: number;
  /** Newest read epoch that it knows. */
  known: number;
  reads: Read[];
  /** Renewals on their way to the service, and answers on their way back. */
  sent: { writer: number; marks: WriterMarks }[];
  answers: { writer: number; epoch: number }[];
}

const KEYS = 3;

class World {
  boot = 1;
  now = 0;
  leases = new Leases(10);
  reclamation = new Reclamation<number>(firstReadEpoch(1));
  gateways: Gateway[] = [];
  nextWriter = 1;
  nextData = KEYS;
  /** What the metadata says each key holds. */
  current = Array.from({ length: KEYS }, (_, key) => key);
  /** Garbage entries that are committed and not done. */
  queue = new Set<number>();
  admitted = new Set<number>();
  removed = new Set<number>();

  constructor(gateways: number) {
    for (let index = 0; index < gateways; index++) {
      this.gateways.push({ writer: 0, known: 0, reads: [], sent: [], answers: [] });
      this.openLease(index);
    }
  }

  /** A gateway takes up a lease; reads of an older one that still run stay its own. */
  openLease(index: number): void {
    const gateway = this.gateway(index);
    gateway.writer = this.nextWriter++;
    this.leases.opened(gateway.writer, 'g', this.now);
    gateway.known = Math.max(gateway.known, this.reclamation.epoch);
  }

  gateway(index: number): Gateway {
    const gateway = this.gateways[index % this.gateways.length];
    assert.ok(gateway);
    return gateway;
  }

  marks(gateway: Gateway): WriterMarks {
    const oldestRead = Math.min(gateway.known, ...gateway.reads.map((read) => read.tag));
    return { lowestSequence: 1, oldestRead, oldestLayout: 0 };
  }

  act(action: Action): void {
    const gateway = this.gateway(action.gateway);
    switch (action.kind) {
      case 'begin':
        gateway.reads.push({ tag: gateway.known, key: action.n % KEYS, data: undefined });
        return;
      case 'ask':
        for (const read of gateway.reads) read.data ??= this.current[read.key];
        return;
      case 'blocks':
        for (const { data } of gateway.reads)
          assert.ok(data === undefined || !this.removed.has(data));
        return;
      case 'end':
        gateway.reads.splice(action.n % Math.max(1, gateway.reads.length), 1);
        return;
      case 'replace': {
        const key = action.n % KEYS;
        this.queue.add(this.current[key] ?? 0);
        this.current[key] = this.nextData++;
        return;
      }
      case 'send':
        gateway.sent.push({ writer: gateway.writer, marks: this.marks(gateway) });
        return;
      case 'deliver':
        this.deliver(gateway, action.n);
        return;
      case 'answer': {
        const [answer] = gateway.answers.splice(action.n % Math.max(1, gateway.answers.length), 1);
        if (answer !== undefined) gateway.known = Math.max(gateway.known, answer.epoch);
        return;
      }
      case 'collect':
        this.collect();
        return;
      case 'expire':
        // The gateway is lost with everything that it runs, and comes back as a new process.
        gateway.reads = [];
        gateway.known = 0;
        this.leases.end(gateway.writer);
        this.leases.forget(gateway.writer);
        this.openLease(action.gateway);
        return;
      case 'restart':
        this.restart();
    }
  }

  /** Renewals may arrive in any order, late, or never. */
  deliver(gateway: Gateway, n: number): void {
    const [renewal] = gateway.sent.splice(n % Math.max(1, gateway.sent.length), 1);
    if (renewal === undefined) return;
    if (!this.leases.renew(renewal.writer, renewal.marks, this.now)) return;
    gateway.answers.push({ writer: renewal.writer, epoch: this.reclamation.epoch });
  }

  collect(): void {
    const fresh = [...this.queue].filter((data) => !this.admitted.has(data));
    for (const data of fresh) this.admitted.add(data);
    this.reclamation.admit(fresh);
    for (const data of this.reclamation.release(this.leases.oldestRead())) {
      this.removed.add(data);
      this.queue.delete(data);
    }
  }

  restart(): void {
    this.boot += 1;
    this.leases = new Leases(10);
    for (const { writer } of this.gateways) this.leases.opened(writer, 'g', this.now);
    this.reclamation = new Reclamation(firstReadEpoch(this.boot));
    this.admitted.clear();
  }
}

const actionArbitrary = fc.record({
  kind: fc.constantFrom(
    'begin',
    'ask',
    'blocks',
    'end',
    'replace',
    'send',
    'deliver',
    'answer',
    'collect',
    'expire',
    'restart',
  ),
  gateway: fc.nat(2),
  n: fc.nat(5),
});
type Action = typeof actionArbitrary extends fc.Arbitrary<infer T> ? T : never;

describe('reclamation by read epochs', () => {
  it('never removes what a running read may see, in any order of events', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.array(actionArbitrary, { minLength: 20, maxLength: 200 }),
        (gateways, actions) => {
          const world = new World(gateways);
          for (const action of actions) {
            world.act(action);
            for (let gateway = 0; gateway < gateways; gateway++) {
              world.act({ kind: 'blocks', gateway, n: 0 });
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('removes everything once the reads have ended and the gateways have renewed twice', () => {
    fc.assert(
      fc.property(fc.array(actionArbitrary, { maxLength: 100 }), (actions) => {
        const world = new World(3);
        for (const action of actions) world.act(action);
        for (const gateway of world.gateways) {
          gateway.reads = [];
          gateway.sent = [];
        }
        world.collect();
        for (const kind of ['send', 'deliver', 'answer', 'send', 'deliver'] as const) {
          for (let gateway = 0; gateway < 3; gateway++) {
            // Answers may have piled up: the newest one tells.
            for (let n = 0; n < 200; n++) {
              if (kind !== 'send' || n === 0) world.act({ kind, gateway, n: 0 });
            }
          }
        }
        world.collect();
        assert.equal(world.queue.size, 0);
      }),
    );
  });

  it('holds data back for a read that began before the deletion, and not for a later one', () => {
    const leases = new Leases(10);
    leases.opened(1, 'g', 0);
    const reclamation = new Reclamation<string>(firstReadEpoch(1));
    const before = reclamation.epoch;
    reclamation.admit(['data']);
    const report = (oldestRead: number) =>
      leases.renew(1, { lowestSequence: 1, oldestRead, oldestLayout: 0 }, 0);
    assert.deepEqual(reclamation.release(leases.oldestRead()), []);
    report(before);
    assert.deepEqual(reclamation.release(leases.oldestRead()), []);
    report(reclamation.epoch);
    assert.deepEqual(reclamation.release(leases.oldestRead()), ['data']);
    assert.equal(reclamation.waiting, 0);
  });

  it('waits for a lease that has not reported, and for none when there is none', () => {
    const leases = new Leases(10);
    const reclamation = new Reclamation<string>(firstReadEpoch(3));
    reclamation.admit(['a']);
    leases.opened(1, 'g', 0);
    assert.deepEqual(reclamation.release(leases.oldestRead()), []);
    leases.forget(1);
    assert.deepEqual(reclamation.release(leases.oldestRead()), ['a']);
  });

  it('begins above all epochs of earlier starts, below 2^53', () => {
    const earlier = new Reclamation<number>(firstReadEpoch(1));
    for (let turn = 0; turn < 1000; turn++) earlier.admit([turn]);
    assert.ok(firstReadEpoch(2) > earlier.epoch);
    assert.ok(Number.isSafeInteger(firstReadEpoch(2_000_000) + 2 ** 32));
  });
});

describe('leases', () => {
  const marks = (lowestSequence: number) => ({ lowestSequence, oldestRead: 5, oldestLayout: 1 });

  it('end when they are not renewed in time, and hold their marks until they are fenced', () => {
    const leases = new Leases(10);
    leases.opened(1, 'g', 0);
    assert.ok(leases.renew(1, marks(1), 5));
    assert.deepEqual(leases.expire(14), []);
    assert.deepEqual(leases.expire(15), [{ writer: 1, name: 'g' }]);
    assert.ok(!leases.renew(1, marks(2), 15));
    assert.equal(leases.oldestRead(), 5);
    assert.deepEqual(leases.expire(16), [{ writer: 1, name: 'g' }]);
    leases.forget(1);
    assert.equal(leases.oldestRead(), Number.POSITIVE_INFINITY);
    assert.equal(leases.count, 0);
  });

  it('say that a blob is settled below the mark of its writer, or when the writer is gone', () => {
    const leases = new Leases(10);
    leases.opened(1, 'g', 0);
    const blob = makeBlobId(1, 7);
    assert.ok(!leases.isSettled(blob));
    leases.renew(1, marks(7), 1);
    assert.ok(!leases.isSettled(blob));
    leases.renew(1, marks(8), 2);
    assert.ok(leases.isSettled(blob));
    assert.ok(leases.isSettled(makeBlobId(2, 1)));
    leases.end(1);
    assert.ok(!leases.isSettled(makeBlobId(1, 9)));
  });
});
