/** One seed: a cluster, clients, faults; then calm, and everything has to be right again. */
import { checkInvariants } from '../../meta/catalogue/test-support.ts';
import { garbageCodec } from '../../meta/catalogue/queue-records.ts';
import { keyOfObject } from '../../meta/catalogue/keyspace.ts';
import { objectCodec } from '../../meta/catalogue/records.ts';
import { membersOf } from '../../meta/cluster/moves.ts';
import type { KeyValueStore } from '../../meta/engine/kv.ts';
import {
  encodeLifecycle,
  LIFECYCLE_CONFIG,
  type LifecycleRule,
} from '../../meta/lifecycle-protocol.ts';
import { SimCluster } from './cluster.ts';
import { drawPlan, Faults } from './faults.ts';
import { History } from './history.ts';
import { damagedCopies, rotJournal } from './journal-copies.ts';
import type { Bugs } from './planted.ts';
import { SeededRandom } from './random.ts';
import { Versions } from './versions.ts';
import { BUCKET, Client, EXPIRES, OWNER, type Weights } from './workload.ts';

const SETUP_MS = 30_000;
const FAULTS_MS_MAX = 120_000;
/** Rows of the current versions. */
const OBJECTS = Buffer.from('o');
const AFTER_OBJECTS = Buffer.from('p');
/** Within this time after the last fault every operation succeeds. */
const LIVENESS_MS = 60_000;
/** Within this time after it, requests that got no answer have happened, or never will. */
const SETTLED_MS = 15_000;
/** Within this time after that, nothing is left to clean up. */
const QUIET_MS = 180_000;
const JOBS_TO_RUN = ['scrub', 'orphans', 'repair', 'rebalance', 'garbage', 'lifecycle'] as const;
/** By tag, and by a date long past: what goes does not depend on clocks, which jump. */
const RULES: LifecycleRule[] = [
  { id: 'expiring', enabled: true, filter: { tags: EXPIRES }, expiration: { dateMs: 0 } },
  { id: 'uploads', enabled: true, filter: {}, abortDays: 1 },
];

export interface SeedOptions {
  seed: number;
  bugs?: Bugs | undefined;
  trace?: ((line: string) => void) | undefined;
}

export interface SeedResult {
  seed: number;
  violations: string[];
  /** Over every event: the same for the same seed. */
  hash: number;
  events: number;
  /** Operations in the history. */
  operations: number;
  /** Keys whose history took too long to decide. */
  undecided: number;
  simulatedMs: number;
  counts: { attempts: number; answered: number; failed: number; lost: number };
  faults: Record<string, number>;
}

export async function runSeed(options: SeedOptions): Promise<SeedResult> {
  const run = new SeedRun(options);
  await run.run();
  return run.result();
}

function textOf(garbage: object): string {
  return Object.values(garbage).map(String).join(' ');
}

class SeedRun {
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #cluster: SimCluster;
  readonly #history = new History();
  readonly #versions = new Versions();
  /** Of the bucket: never, from its beginning, or now and then. */
  readonly #versioning: 'never' | 'always' | 'changing';
  /** The bucket has lifecycle rules. */
  readonly #expires: boolean;
  readonly #clients: Client[];
  readonly #keys: readonly string[];
  readonly #faults: Faults;

  constructor({ seed, bugs, trace }: SeedOptions) {
    this.#seed = seed;
    const random = new SeededRandom(seed, 'run');
    this.#random = random;
    this.#cluster = new SimCluster({
      seed,
      nodes: random.pick([3, 3, 3, 4, 5]),
      spares: random.int(3),
      gateways: 2,
      bugs,
      trace,
    });
    this.#keys = ['a', 'b/1', 'b/2', 'c'].slice(0, 1 + random.int(4));
    this.#expires = new SeededRandom(seed, 'lifecycle').chance(0.4);
    this.#clients = Array.from(
      { length: 2 + random.int(4) },
      (_, index) =>
        new Client({
          cluster: this.#cluster,
          history: this.#history,
          versions: this.#versions,
          random: new SeededRandom(seed, `client ${index}`),
          keys: this.#keys,
          name: `client ${index + 1}`,
          expiring: this.#expires ? new SeededRandom(seed, `expiring ${index}`) : undefined,
        }),
    );
    this.#versioning = new SeededRandom(seed, 'versioning').pick([
      'never',
      'never',
      'always',
      'changing',
    ]);
    const stream = new SeededRandom(seed, 'faults');
    this.#faults = new Faults(this.#cluster, drawPlan(stream, bugs?.focus), stream);
  }

  async run(): Promise<void> {
    if (!(await this.#setUp())) return;
    await this.#underFaults();
    if (this.#stopped) return;
    await this.#recover();
    if (this.#stopped) return;
    await this.#quiet();
  }

  result(): SeedResult {
    const { scheduler, oracle } = this.#cluster;
    const { violations, undecided } = this.#history.check();
    const sum = (name: keyof Client['counts']) =>
      this.#clients.reduce((total, client) => total + client.counts[name], 0);
    return {
      seed: this.#seed,
      violations: [
        ...oracle.violations,
        ...scheduler.errors.map((error) =>
          error instanceof Error ? `${error.stack}` : String(error),
        ),
        ...violations,
      ],
      hash: scheduler.hash,
      events: scheduler.events,
      operations: this.#history.operations,
      undecided,
      simulatedMs: scheduler.now,
      counts: {
        attempts: sum('attempts'),
        answered: sum('answered'),
        failed: sum('failed'),
        lost: sum('lost'),
      },
      faults: this.#faults.counts,
    };
  }

  /** A violation ends the run: what follows it says nothing. */
  get #stopped(): boolean {
    return this.#cluster.oracle.violations.length > 0 || this.#cluster.scheduler.errors.length > 0;
  }

  /** Runs the simulation until `work` has settled, or `limitMs` have passed. */
  async #until(work: Promise<unknown>, limitMs: number): Promise<boolean> {
    let done = false;
    work.then(
      () => {
        done = true;
      },
      (error: unknown) => {
        this.#cluster.scheduler.errors.push(error);
      },
    );
    return await this.#cluster.scheduler.run(() => done || this.#stopped, limitMs);
  }

  async #setUp(): Promise<boolean> {
    const cluster = this.#cluster;
    cluster.startAll();
    const ready = await this.#until(this.#makeBucket(), SETUP_MS);
    if (!ready) cluster.oracle.violation('the cluster did not start');
    return ready && !this.#stopped;
  }

  async #makeBucket(): Promise<void> {
    const [gateway] = this.#cluster.gateways;
    for (;;) {
      await this.#cluster.sleep(100);
      const up = this.#cluster.gateways.every((one) => one.now?.running.status().ready);
      if (!up || gateway?.now === undefined) continue;
      const made = await gateway.now.meta.createBucket({ name: BUCKET, owner: OWNER, region: 'r' });
      if (!made.ok) continue;
      if (this.#expires) {
        const value = encodeLifecycle({ rules: RULES });
        const config = { bucket: BUCKET, name: LIFECYCLE_CONFIG, value };
        if (!(await gateway.now.meta.setBucketConfig(config)).ok) continue;
      }
      if (this.#versioning === 'never') return;
      const command = { bucket: BUCKET, versioning: 'Enabled' as const };
      if ((await gateway.now.meta.setVersioning(command)).ok) return;
    }
  }

  async #underFaults(): Promise<void> {
    const random = this.#random;
    const weights: Weights = {
      put: random.between(1, 4),
      get: random.between(1, 4),
      range: random.between(0, 1),
      remove: random.between(0, 2),
      removeMany: random.between(0, 0.5),
      copy: random.between(0, 1.5),
      list: random.between(0, 1),
      conditional: random.between(0, 2),
      multipart: random.between(0, 1),
      version: this.#versioning === 'never' ? 0 : random.between(0, 2),
      removeVersion: this.#versioning === 'never' ? 0 : random.between(0, 1),
      listVersions: this.#versioning === 'never' ? 0 : random.between(0, 0.5),
      versioning: this.#versioning === 'changing' ? 0.3 : 0,
    };
    const think: [number, number] = [1, random.skewed(50, 2000)];
    const operations = 8 + random.int(20);
    this.#faults.begin();
    const work = this.#clients.map((client) => client.work(operations, weights, think));
    const done = await this.#until(Promise.all(work), FAULTS_MS_MAX);
    this.#faults.end();
    // Those who still wait get their answers, or run out of patience.
    if (!done) await this.#until(Promise.all(work), LIVENESS_MS * 4);
  }

  /** Every operation on every gateway succeeds again. */
  async #recover(): Promise<void> {
    const cluster = this.#cluster;
    const client = this.#clients[0];
    if (client === undefined) return;
    const start = cluster.scheduler.now;
    const recovered = (async () => {
      for (const gateway of cluster.gateways) {
        for (const key of this.#keys) {
          await this.#retry(async () => gateway.now !== undefined && client.get(gateway.now, key));
        }
        await this.#retry(async () => gateway.now !== undefined && client.list(gateway.now, 2));
        const key = this.#random.pick(this.#keys);
        await this.#retry(
          async () => gateway.now !== undefined && client.put(gateway.now, key, {}),
        );
      }
    })();
    if (!(await this.#until(recovered, LIVENESS_MS))) {
      cluster.oracle.violation(`not everything works ${LIVENESS_MS} ms after the last fault`);
      return;
    }
    // Whatever had an unknown outcome has happened by now, or never will.
    const left = SETTLED_MS - (cluster.scheduler.now - start);
    if (left > 0) await cluster.scheduler.run(() => this.#stopped, left);
    this.#history.settledBy = cluster.scheduler.now;
  }

  async #retry(attempt: () => Promise<boolean>): Promise<void> {
    while (!(await attempt())) await this.#cluster.sleep(250);
  }

  /** Everything that is wrong is found and put right, and the books are right. */
  async #quiet(): Promise<void> {
    const cluster = this.#cluster;
    const store = cluster.metaDisk.reader();
    const end = cluster.scheduler.now + QUIET_MS;
    // Otherwise what is damaged would be dropped behind new snapshots, before anybody looks.
    if (cluster.journal !== 'off') cluster.runJob('snapshot', 'pause');
    let left = ['not looked at'];
    for (let round = 0; left.length > 0 && cluster.scheduler.now < end; round++) {
      // An operator who does not want to wait for the next walk.
      if (round % 4 === 0) for (const name of JOBS_TO_RUN) cluster.runJob(name);
      if (round % 4 === 0 && cluster.journal !== 'off') cluster.runJob('journal');
      await cluster.scheduler.run(() => this.#stopped, 2000);
      if (this.#stopped) return;
      if (round === 0 && cluster.journal !== 'off') {
        // One copy of what is on two nodes and more: all of them together would be lost metadata.
        const present = cluster.nodes.filter((node) => node.present);
        rotJournal(this.#random.pick(present).journalDisk, this.#random);
      }
      left = await this.#left(store);
    }
    if (left.length > 0) {
      cluster.oracle.violation(`after ${QUIET_MS} ms of quiet there is still ${left.join('; ')}`);
    }
    await this.#books(store);
    await this.#lastLook();
  }

  /** What waits to be moved, removed or repaired, and what is wrong and waits to be found. */
  async #left(store: KeyValueStore): Promise<string[]> {
    const { service, oracle } = this.#cluster;
    const layout = service?.cluster.layout;
    if (layout === undefined) return ['no layout'];
    const left: string[] = [];
    if (service?.cluster.view().previous.length !== 0) left.push('a layout change');
    for (const [name, queue] of Object.entries({ garbage: 'qg', repair: 'qr' })) {
      const start = Buffer.from(queue);
      const end = Buffer.from(start);
      end[1] = (end[1] ?? 0) + 1;
      const rows = await store.range({ start, end, limit: 1000 });
      const [first] = rows;
      if (first !== undefined) {
        const what =
          queue === 'qg' ? textOf(garbageCodec.decode(first.value)) : first.key.toString('hex');
        left.push(`${rows.length} entries in the ${name} queue, first ${what}`);
      }
    }
    const heads = await store.range({ start: OBJECTS, end: AFTER_OBJECTS, limit: 1000 });
    for (const { key, value } of heads) {
      const head = objectCodec.decode(value);
      if (head.tags !== undefined) left.push(`${keyOfObject(key)}, which is to expire`);
    }
    left.push(...oracle.wrongReplicas((group) => membersOf(layout, group)));
    for (const { journalDisk, identity, present } of this.#cluster.nodes) {
      const follows = present && !this.#cluster.isGone(identity.id);
      if (follows && this.#cluster.journal !== 'off') left.push(...damagedCopies(journalDisk));
    }
    return left;
  }

  async #books(store: KeyValueStore): Promise<void> {
    try {
      await checkInvariants(store);
    } catch (error) {
      this.#cluster.oracle.violation(`the books are wrong: ${String(error)}`);
    }
  }

  /** The last word on every key, from every gateway. */
  async #lastLook(): Promise<void> {
    const cluster = this.#cluster;
    const client = this.#clients[0];
    if (client === undefined) return;
    const looks = (async () => {
      for (const gateway of cluster.gateways) {
        for (const key of this.#keys) {
          const read = gateway.now !== undefined && (await client.get(gateway.now, key));
          if (!read) cluster.oracle.violation(`${key} cannot be read although all is calm`);
        }
        for (const version of [...this.#versions.standing, ...this.#versions.gone]) {
          const read = gateway.now !== undefined && (await client.getVersion(gateway.now, version));
          if (!read) cluster.oracle.violation(`${version.versionId} cannot be read in the calm`);
        }
      }
    })();
    if (!(await this.#until(looks, LIVENESS_MS))) {
      cluster.oracle.violation('reads hang although all is calm');
    }
  }
}
