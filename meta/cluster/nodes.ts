/**
 * Who the storage nodes are and whether they live, as pure state. Ids, addresses, zones and sizes
 * are rows in the store; heartbeats, free space and instances are kept here only. Time is monotonic.
 */
import type { Heartbeat, NodeRegistration, NodeView } from '../protocol.ts';
import type { NodeRow } from './rows.ts';

interface Known extends NodeRow {
  id: string;
  instance: string | undefined;
  /** The process that this one took the place of, and when. */
  displaced: { instance: string; at: number } | undefined;
  lastBeatAt: number;
  up: boolean;
  full: boolean;
  freeBytes: number;
}

/** Free space that changes by less than this part of the capacity is no news. */
const FREE_STEP = 100;

export class Nodes {
  readonly #downAfterMs: number;
  readonly #nodes = new Map<string, Known>();
  #revision: number;

  /** `firstRevision`: above every revision of an earlier start. */
  constructor(downAfterMs: number, firstRevision: number) {
    this.#downAfterMs = downAfterMs;
    this.#revision = firstRevision;
  }

  /** Grows with every change of what gateways see. */
  get revision(): number {
    return this.#revision;
  }

  /** Something else that gateways see has changed. */
  touch(): void {
    this.#revision += 1;
  }

  get count(): number {
    return this.#nodes.size;
  }

  /** A node of an earlier start: down until it says otherwise. */
  restore(id: string, row: NodeRow): void {
    this.#nodes.set(id, {
      ...row,
      id,
      instance: undefined,
      displaced: undefined,
      lastBeatAt: Number.NEGATIVE_INFINITY,
      up: false,
      full: false,
      freeBytes: 0,
    });
  }

  /** What is stored of the node. */
  row(id: string): NodeRow | undefined {
    return this.#nodes.get(id);
  }

  /**
   * True: another process with this id is alive. One at the same address takes the place of the
   * other at once, for two cannot listen there; but if that one comes back, they are two after all.
   */
  clashes({ id, instance, address }: NodeRegistration, nowMs: number): boolean {
    const known = this.#nodes.get(id);
    if (known?.up !== true || known.instance === undefined) return false;
    if (known.instance === instance) return false;
    const { displaced } = known;
    const returns = displaced?.instance === instance && nowMs - displaced.at < this.#downAfterMs;
    return returns || known.address !== address;
  }

  /** The registration is committed. */
  register(registration: NodeRegistration, nowMs: number): void {
    const { id, address, zone, capacityBytes, freeBytes, instance } = registration;
    const before = this.#nodes.get(id);
    const displaced =
      before?.instance === undefined || before.instance === instance
        ? before?.displaced
        : { instance: before.instance, at: nowMs };
    this.#nodes.set(id, {
      id,
      address,
      zone,
      capacityBytes,
      freeBytes,
      instance,
      displaced,
      lastBeatAt: nowMs,
      up: true,
      full: false,
    });
    this.#revision += 1;
  }

  /** False: not registered since the last start, or as another process. */
  beat(beat: Heartbeat, nowMs: number): boolean {
    const known = this.#nodes.get(beat.id);
    if (known === undefined || known.instance !== beat.instance) return false;
    known.lastBeatAt = nowMs;
    const step = Math.max(1, beat.capacityBytes / FREE_STEP);
    const news =
      !known.up ||
      known.full !== beat.full ||
      known.capacityBytes !== beat.capacityBytes ||
      Math.abs(known.freeBytes - beat.freeBytes) >= step;
    if (!news) return true;
    known.up = true;
    known.full = beat.full;
    known.capacityBytes = beat.capacityBytes;
    known.freeBytes = beat.freeBytes;
    this.#revision += 1;
    return true;
  }

  /** This process stood still for `ms`: heartbeats that came meanwhile are yet to be read. */
  forgive(ms: number): void {
    for (const known of this.#nodes.values()) known.lastBeatAt += ms;
  }

  /** Finds nodes that have fallen silent; returns the ids of those that are down from now on. */
  sweep(nowMs: number): string[] {
    const fallen: string[] = [];
    for (const known of this.#nodes.values()) {
      if (!known.up || nowMs - known.lastBeatAt < this.#downAfterMs) continue;
      known.up = false;
      fallen.push(known.id);
    }
    if (fallen.length > 0) this.#revision += 1;
    return fallen;
  }

  isUp(id: string): boolean {
    return this.#nodes.get(id)?.up === true;
  }

  /** In id order. */
  views(): NodeView[] {
    return [...this.#nodes.values()]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map(({ id, address, zone, up, full, capacityBytes, freeBytes }) => ({
        id,
        address,
        zone,
        state: up ? ('up' as const) : ('down' as const),
        full,
        capacityBytes,
        freeBytes,
      }));
  }
}
