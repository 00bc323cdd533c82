/**
 * Puts replicas right that a read found corrupt or missing: in the background, a few at a time, from
 * a sound copy. Every find is also reported to the metadata service, which looks after the rest of
 * the blob and after what could not be repaired here.
 */
import type { Clock } from '../../base/clock.ts';
import { toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import type { Meta, ReplicaReport } from '../../meta/protocol.ts';
import { type BlockContent, checksumOf } from '../../storage-node/protocol.ts';
import type { FoundFault } from './block-read.ts';
import { bounded } from './bounded.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { PlacementMap } from './placement.ts';
import type { ReadHold } from './writer-lease.ts';

const REPAIRS_AT_ONCE = 4;
/** More than these are left to the metadata service's own repair. */
const REPAIRS_QUEUED_MAX = 256;
const REPORT_DELAY_MS = 100;
const REPORT_RETRY_MS = 1000;
const REPORTS_PER_CALL = 256;
const REPORTS_KEPT_MAX = 10_000;

export interface RepairCounts {
  repaired: number;
  failed: number;
  /** Queued or under way. */
  pending: number;
  /** Finds that were reported only, because too many were queued. */
  skipped: number;
}

interface Repair extends FoundFault {
  hold: ReadHold;
  map: PlacementMap;
  /** Bytes of memory budget that its content takes. */
  charge: number;
}

export class ReadRepairer {
  readonly #meta: Pick<Meta, 'reportReplicas'>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #memory: ByteBudget;
  readonly #callTimeoutMs: number;
  readonly #queue: Repair[] = [];
  /** Faults queued or under way, so that many readers of one bad block make one repair. */
  readonly #known = new Set<string>();
  readonly #reports = new Map<string, ReplicaReport>();
  #reporting = false;
  #running = 0;
  readonly counts: RepairCounts = { repaired: 0, failed: 0, pending: 0, skipped: 0 };

  constructor(options: {
    meta: Pick<Meta, 'reportReplicas'>;
    clock: Clock;
    log: Log;
    /** Shared with read-ahead: a repair that finds no memory reads its block again later. */
    memory: ByteBudget;
    callTimeoutMs: number;
  }) {
    this.#meta = options.meta;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#memory = options.memory;
    this.#callTimeoutMs = options.callTimeoutMs;
  }

  /**
   * `hold`: the read that found it. The repair keeps the read's epoch, because a block must not be
   * put back after the garbage collector has removed its blob; and `map` counts it as a user, because
   * it must not be put back either on a node that has given its placement group away.
   */
  add(fault: FoundFault, hold: ReadHold, map: PlacementMap): void {
    const { key, node, reason } = fault;
    this.#report({ blob: key.blob, node: node.id, reason });
    const name = nameOf(fault);
    if (this.#known.has(name)) return;
    if (this.#queue.length >= REPAIRS_QUEUED_MAX) {
      this.counts.skipped++;
      return;
    }
    this.#log.warn({ node: node.id, blob: key.blob, block: key.index, reason }, 'bad replica');
    this.#known.add(name);
    const bytes = fault.content?.bytes.length ?? 0;
    const kept = bytes > 0 && this.#memory.tryAcquire(bytes);
    const content = kept ? fault.content : undefined;
    map.holds++;
    this.#queue.push({ ...fault, content, hold: hold.share(), map, charge: kept ? bytes : 0 });
    this.counts.pending++;
    this.#next();
  }

  #next(): void {
    if (this.#running >= REPAIRS_AT_ONCE) return;
    const repair = this.#queue.shift();
    if (repair === undefined) return;
    this.#running++;
    void this.#run(repair);
  }

  async #run(repair: Repair): Promise<void> {
    const { key, node, reason } = repair;
    try {
      await this.#write(repair);
      this.counts.repaired++;
      this.#log.info({ node: node.id, blob: key.blob, block: key.index, reason }, 'repaired');
    } catch (error) {
      this.counts.failed++;
      this.#log.warn({ node: node.id, blob: key.blob, error: toFailure(error) }, 'repair failed');
    }
    if (repair.charge > 0) this.#memory.release(repair.charge);
    repair.hold.release();
    repair.map.holds--;
    this.#known.delete(nameOf(repair));
    this.counts.pending--;
    this.#running--;
    this.#next();
  }

  async #write(repair: Repair): Promise<void> {
    const content = repair.content ?? (await this.#fetch(repair));
    const client = repair.node.client;
    if (client === undefined || !repair.node.proven) throw new Error('the node cannot be reached');
    const options = { timeoutMs: this.#callTimeoutMs };
    const call =
      repair.reason === 'corrupt'
        ? client.restore(repair.key, content, options)
        : client.put(repair.key, content, options);
    await bounded(this.#clock, this.#callTimeoutMs, call);
  }

  /** The whole block from the replica that served the range. */
  async #fetch({ key, source }: Repair): Promise<BlockContent> {
    const call = source.get(key, undefined, this.#callTimeoutMs, undefined);
    const block = await bounded(this.#clock, this.#callTimeoutMs, call);
    if (checksumOf(key, block.hash) !== block.checksum)
      throw new Error('the source is bad as well');
    return { bytes: block.bytes, hash: block.hash };
  }

  #report(report: ReplicaReport): void {
    if (this.#reports.size >= REPORTS_KEPT_MAX) return;
    this.#reports.set(`${report.blob} ${report.node} ${report.reason}`, report);
    this.#reportLater(REPORT_DELAY_MS);
  }

  #reportLater(delayMs: number): void {
    if (this.#reporting) return;
    this.#reporting = true;
    this.#clock.after(delayMs, () => void this.#sendReports());
  }

  async #sendReports(): Promise<void> {
    const batch = [...this.#reports].slice(0, REPORTS_PER_CALL);
    let delayMs = 0;
    try {
      const reports = batch.map(([, report]) => report);
      const options = { timeoutMs: this.#callTimeoutMs };
      const call = this.#meta.reportReplicas({ reports }, options);
      await bounded(this.#clock, this.#callTimeoutMs, call);
      for (const [name] of batch) this.#reports.delete(name);
    } catch (error) {
      this.#log.debug({ error: toFailure(error) }, 'reporting bad replicas failed');
      delayMs = REPORT_RETRY_MS;
    }
    this.#reporting = false;
    if (this.#reports.size > 0) this.#reportLater(delayMs);
  }
}

function nameOf({ key, node }: FoundFault): string {
  return `${node.id} ${key.blob} ${key.index}`;
}
