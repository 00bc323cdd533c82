/**
 * Who the storage nodes are and whether they live, as pure state. What an operator or the node's disk
 * says is a row in the store; heartbeats and free space are kept here only. Time is monotonic.
 */
import type { Heartbeat, NodeRegistration, NodeView, StoreFill } from '../protocol.ts';
import type { NodeRow } from './rows.ts';

interface Known {
  id: string;
  row: NodeRow;
  instance: string | undefined;
  /** The process that this one took the place of, and when. */
  displaced: { instance: string; at: number } | undefined;
  /** The last sign of life, or when this service started, if there was none since. */
  heardAt: number;
  heard: boolean;
  beats: boolean;
  up: boolean;
  full: boolean;
  capacityBytes: number;
  freeBytes: number;
  store?: StoreFill | undefined;
}

/** What is known of a node at the moment. */
export interface NodeState {
  id: string;
  row: NodeRow;
  /** As an operator said, or else the node itself. */
  zone: string;
  up: boolean;
  /** It has sent a heartbeat since it registered. */
  beats: boolean;
  full: boolean;
  capacityBytes: number;
  freeBytes: number;
  store?: StoreFill | undefined;
  /** Since its last sign of life or, when there was none yet, since the start of this service. */
  silentMs: number;
  /** It has been heard since the start of this service. */
  heard: boolean;
}

/** Free space that changes by less than this part of the capacity is no news. */
const FREE_STEP = 100;

/** The operator's word, or else the node's own. */
const zoneOf = (row: NodeRow): string => row.placedZone ?? row.zone;

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
  restore(id: string, row: NodeRow, nowMs: number): void {
    this.#nodes.set(id, {
      id,
      row,
      instance: undefined,
      displaced: undefined,
      heardAt: nowMs,
      heard: false,
      beats: false,
      up: false,
      full: false,
      capacityBytes: row.capacityBytes,
      freeBytes: 0,
    });
  }

  /** What is stored of the node. */
  row(id: string): NodeRow | undefined {
    return this.#nodes.get(id)?.row;
  }

  /** The row has been stored anew. */
  putRow(id: string, row: NodeRow): void {
    const known = this.#nodes.get(id);
    if (known === undefined) return;
    const gone = row.removal === 'gone';
    const seen = gone !== (known.row.removal === 'gone') || zoneOf(row) !== zoneOf(known.row);
    known.row = row;
    // A disk that an operator has given up must introduce itself before it counts again.
    if (gone || row.replaced) {
      known.up = false;
      known.instance = undefined;
    }
    if (seen) this.#revision += 1;
  }

  /** Nobody of this id will ever answer again: an operator has removed it, or it was never known. */
  isGone(id: string): boolean {
    const row = this.row(id);
    return row === undefined || row.removal === 'gone';
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
    return returns || known.row.address !== address;
  }

  /** The registration is committed. */
  register(registration: NodeRegistration, row: NodeRow, nowMs: number): void {
    const { id, capacityBytes, freeBytes, instance } = registration;
    const before = this.#nodes.get(id);
    const displaced =
      before?.instance === undefined || before.instance === instance
        ? before?.displaced
        : { instance: before.instance, at: nowMs };
    this.#nodes.set(id, {
      id,
      row,
      capacityBytes,
      freeBytes,
      instance,
      displaced,
      heardAt: nowMs,
      heard: true,
      beats: false,
      up: true,
      full: false,
    });
    this.#revision += 1;
  }

  /** False: not registered since the last start, or as another process. */
  beat(beat: Heartbeat, nowMs: number): boolean {
    const known = this.#nodes.get(beat.id);
    if (known === undefined || known.instance !== beat.instance) return false;
    known.heardAt = nowMs;
    known.beats = true;
    known.store = beat.store;
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
    for (const known of this.#nodes.values()) known.heardAt += ms;
  }

  /** Finds nodes that have fallen silent; returns the ids of those that are down from now on. */
  sweep(nowMs: number): string[] {
    const fallen: string[] = [];
    for (const known of this.#nodes.values()) {
      if (!known.up || nowMs - known.heardAt < this.#downAfterMs) continue;
      known.up = false;
      fallen.push(known.id);
    }
    if (fallen.length > 0) this.#revision += 1;
    return fallen;
  }

  isUp(id: string): boolean {
    return this.#nodes.get(id)?.up === true;
  }

  /** In id order, without those that are gone. */
  states(nowMs: number): NodeState[] {
    return [...this.#nodes.values()]
      .filter(({ row }) => row.removal !== 'gone')
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map((known) => ({
        id: known.id,
        row: known.row,
        zone: zoneOf(known.row),
        up: known.up,
        beats: known.beats,
        full: known.full,
        capacityBytes: known.capacityBytes,
        freeBytes: known.freeBytes,
        store: known.store,
        silentMs: nowMs - known.heardAt,
        heard: known.heard,
      }));
  }

  /** In id order. */
  views(): NodeView[] {
    return this.states(0).map(({ id, row, zone, up, full, capacityBytes, freeBytes }) => ({
      id,
      address: row.address,
      zone,
      state: up ? ('up' as const) : ('down' as const),
      full,
      capacityBytes,
      freeBytes,
    }));
  }
}
