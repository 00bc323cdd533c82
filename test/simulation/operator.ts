/** An operator: changes the layout, and replaces disks that are lost, while everything else goes on. */
import { Failure } from '../../base/failure.ts';
import type { LayoutChange, MetaAdmin, NodeInfo } from '../../meta/admin-protocol.ts';
import { decodeBlockKey } from '../../storage-node/protocol.ts';
import type { NodeMachine, SimCluster } from './cluster.ts';
import type { SeededRandom } from './random.ts';

/** An operator who gets no answer looks again. */
const PATIENCE_MS = 20_000;
/** Longer than a node's silence until it counts as down. */
const DOWN_MS = 5000;

export class Operator {
  readonly #cluster: SimCluster;
  readonly #random: SeededRandom;
  #busy = false;

  constructor(cluster: SimCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  /** Stages and applies one change that may or may not be possible now. */
  changeLayout(): void {
    if (this.#busy) return;
    this.#busy = true;
    void this.#change().finally(() => {
      this.#busy = false;
    });
  }

  /** A node dies with its disk; it gets a blank one and is told so. */
  replaceDisk(node: NodeMachine): void {
    if (this.#busy || node.blank || !this.#canLose(node)) return;
    this.#busy = true;
    void this.#replace(node).finally(() => {
      this.#busy = false;
    });
  }

  /** The metadata service dies with its disk; its store is made anew from the nodes. */
  loseMeta(): void {
    // What is journaled later may be lost with the disk.
    if (this.#busy || this.#cluster.journal !== 'sync') return;
    this.#busy = true;
    void this.#rebuild().finally(() => {
      this.#busy = false;
    });
  }

  async #rebuild(): Promise<void> {
    const cluster = this.#cluster;
    // After a disk was lost, what was on it has to be on two nodes again.
    const status = await this.#ask('journal', (admin) => admin.journal());
    const safe =
      status !== undefined &&
      status.problem === undefined &&
      status.nodes.length >= 3 &&
      status.journaled >= status.committed;
    if (!safe || cluster.nodes.some(({ blank }) => blank)) return;
    cluster.loseMeta();
    do await cluster.sleep(this.#random.skewed(500, 5000));
    while (!(await cluster.rebuildMeta()));
  }

  async #change(): Promise<void> {
    const infos = await this.#ask('node list', (admin) => admin.nodes());
    if (infos === undefined) return;
    const change = this.#choose(infos);
    if (change === undefined) return;
    this.#cluster.trace(`--- layout change: ${JSON.stringify(change)}`);
    const plan = await this.#ask('stage', (admin) => admin.stageLayout({ changes: [change] }));
    if (plan === undefined) return;
    await this.#ask('apply', (admin) => admin.applyLayout({ epoch: plan.epoch }));
  }

  #choose(infos: readonly NodeInfo[]): LayoutChange | undefined {
    const random = this.#random;
    const placed = infos.filter(({ inLayout }) => inLayout);
    const spare = this.#cluster.nodes.find(
      ({ identity: { id } }) => !placed.some((info) => info.id === id) && !this.#cluster.isGone(id),
    );
    if (spare !== undefined && !spare.present) {
      // It registers first; the next change may add it.
      spare.present = true;
      this.#cluster.start(spare.process);
      return undefined;
    }
    const node = random.pick(placed).id;
    if (spare !== undefined && random.chance(0.5)) return { kind: 'add', node: spare.identity.id };
    return random.pick<LayoutChange>([
      { kind: 'drain', node },
      { kind: 'undrain', node: placed.find(({ weight }) => weight === 0)?.id ?? node },
      { kind: 'remove', node },
      { kind: 'weight', node, weight: 1 + random.int(3) },
      { kind: 'zone', node, zone: `z${random.int(4)}` },
    ]);
  }

  /** Everything on it has another good copy. */
  #canLose({ disk }: NodeMachine): boolean {
    if (this.#cluster.nodes.some(({ blank }) => blank)) return false;
    return [...disk.memory.blocks.keys()].every((name) => {
      const key = decodeBlockKey(Buffer.from(name, 'latin1'));
      const others = this.#cluster.oracle
        .copies(key)
        .filter((other) => other !== disk && !this.#cluster.isGone(other.name));
      return others.length > 0 || !this.#cluster.oracle.mayMatter(key.blob);
    });
  }

  async #replace(node: NodeMachine): Promise<void> {
    const { process, identity } = node;
    node.blank = true;
    node.present = false;
    this.#cluster.crash(process, 'its disk is gone');
    this.#cluster.loseDisk(node);
    await this.#cluster.sleep(this.#random.skewed(100, 2 * DOWN_MS));
    // Started at once it is refused, and asks again until it is expected.
    node.present = true;
    const early = this.#random.chance(0.5);
    if (early) this.#cluster.start(process);
    for (;;) {
      await this.#cluster.sleep(DOWN_MS / 2);
      // It may have been taken in: a node that has nothing needs no leave.
      if (identity.clusterId !== undefined || this.#cluster.isGone(identity.id)) break;
      const infos = await this.#ask('node list', (admin) => admin.nodes());
      const info = infos?.find(({ id }) => id === identity.id);
      if (info === undefined) continue;
      // A node that was leaving has no place to come back to: it is given up.
      const change: LayoutChange = info.inLayout
        ? { kind: 'replace', node: identity.id }
        : { kind: 'remove', node: identity.id, force: true };
      this.#cluster.trace(`--- layout change: ${JSON.stringify(change)}`);
      const plan = await this.#ask('stage', (admin) => admin.stageLayout({ changes: [change] }));
      if (plan !== undefined) {
        const state = await this.#ask('apply', (admin) => admin.applyLayout({ epoch: plan.epoch }));
        if (state !== undefined) break;
      }
      await this.#ask('revert', (admin) => admin.revertLayout());
    }
    node.blank = false;
    this.#cluster.start(process);
  }

  /** Undefined: refused, or no answer. */
  #ask<T>(what: string, work: (admin: MetaAdmin) => Promise<T>): Promise<T | undefined> {
    const { service, meta, scheduler } = this.#cluster;
    const { life } = meta;
    return new Promise((resolve) => {
      scheduler.at(PATIENCE_MS, 'the operator gives up', () => resolve(undefined));
      if (service === undefined || life?.handler === undefined) return resolve(undefined);
      life.enter(() => {
        work(service.admin).then(resolve, (error: unknown) => {
          if (!life.alive) return;
          this.#cluster.trace(`--- ${what} is refused: ${String(error)}`);
          if (!(error instanceof Failure) || error.kind === 'internal') {
            this.#cluster.oracle.violation(`${what} failed: ${String(error)}`);
          }
          resolve(undefined);
        });
      });
    });
  }
}
