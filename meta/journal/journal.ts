/**
 * The metadata journal: every batch of the store is a record on at least two storage nodes before it
 * is applied here and acknowledged (`sync`), or soon after (`async`). So the store can be made anew
 * from the nodes alone.
 *
 * The nodes obey the highest claim. A claim's generation is the start of the service and how often it
 * has opened the journal since. When a record does not get onto two nodes in time, its callers are
 * told that the outcome is unknown, and the journal is opened again under a new generation, which
 * drops the record wherever it got to. The first record of each opening settles what came before.
 *
 * A store that starts looks first. Nodes that are ahead of it in its own line have records that were
 * never applied here, or were lost with this disk: they are applied. Nodes that a later start of the
 * service has claimed tell that this store is an old copy: it is refused.
 */
import type { Effects } from '../../base/clock.ts';
import { Failure, isFailure, toFailure } from '../../base/failure.ts';
import type { Log } from '../../base/log.ts';
import {
  type JournalClaim,
  type JournalNode,
  type JournalPosition,
  type JournalState,
} from '../../storage-node/protocol.ts';
import { Appender, COPIES } from './appender.ts';
import type { CommitLog, Write } from '../engine/group-commit.ts';
import { CALL_TIMEOUT_MS, isFenced, Peer, type PeerSource } from './peer.ts';
import { earlyRow, POSITION_KEY, EARLY_KEY, positionRow, readEarly, readPosition } from './rows.ts';
import {
  isForeign,
  type JournaledStore,
  nameOf,
  OLD_COPY,
  OPENINGS_PER_BOOT,
  replay,
} from './recovery.ts';

const TOKEN_BYTES = 8;

/** A log line about one node at most this often. */
const TELL_EVERY_MS = 10_000;
/** How long a slow node is waited for when enough have answered. */
const LINGER_MS = 100;
/** Rows written while the journal is closed that its next first record takes. */
const EARLY_KEYS_MAX = 1000;

export interface JournalTimings {
  /** Pause between two looks at the nodes. */
  roundMs: number;
  /** Longest wait for two nodes to have a record. */
  ackMs: number;
  /** How long a start waits for all nodes but one, when two are there. */
  graceMs: number;
}

const TIMINGS: JournalTimings = { roundMs: 100, ackMs: 4000, graceMs: 5000 };

export interface JournalNodes {
  clusterId: string;
  /** Number of this start of the service. */
  boot: number;
  /** The nodes of the cluster; calls to those that cannot be reached fail. */
  peers: () => { id: string; journal: JournalNode }[];
  /** How many nodes there are. */
  known: () => number;
  /** Blocks have a place: from now on everything is journaled. */
  laidOut: () => boolean;
  /** Finds the snapshots on these nodes and sets the journal's `floor`. */
  findSnapshots: (peers: readonly Peer[]) => Promise<void>;
  /** Makes sure that there is one that all records follow, before anything is acknowledged. */
  firstSnapshot: () => Promise<void>;
}

export interface JournalOptions {
  mode: 'sync' | 'async';
  store: JournaledStore;
  effects: Effects;
  log: Log;
  /** The store is not to be used: somebody else is the metadata service, or it is an old copy. */
  refused: (failure: Failure) => void;
  timings?: Partial<JournalTimings> | undefined;
}

/**
 * `idle`: nothing to journal yet; `closed`: commits wait for it to be opened; `open`; `refused`: for
 * good; `stopped`.
 */
type State = 'idle' | 'closed' | 'open' | 'refused' | 'stopped';

export class MetaJournal implements CommitLog, PeerSource {
  readonly mode: 'sync' | 'async';
  readonly #options: JournalOptions;
  readonly #timings: JournalTimings;
  readonly #token: string;
  #nodes: JournalNodes | undefined;
  #state: State = 'idle';
  #problem = '';
  #refusal: Failure | undefined;
  #opening = 0;
  /** Records may be on their way under the present generation that do not count. */
  #spent = true;
  #claim: JournalClaim = { clusterId: '', generation: 0, token: '' };
  readonly #line: Appender;
  /** The store has a place in a journal; false: a new line begins. */
  #hasLine = false;
  /** What is in memory is as the nodes have it: this process has opened the journal before. */
  #opened = false;
  #early = new Set<string>();
  /** Something was written at this start before the nodes had told what the store has missed. */
  #parted = false;
  readonly #attachedAt: number;
  /** So much was written while the journal was closed that a new line has to begin. */
  #dropping = false;
  #peers = new Map<string, Peer>();
  #joining = new Set<string>();
  /** When it was last logged that a node does not follow. */
  #toldAt = new Map<string, number>();
  #readable: PromiseWithResolvers<void> | undefined;
  #enoughSince: number | undefined;
  #ending = new AbortController();
  #running: Promise<void> | undefined;
  /** A peer could not be given all records: a snapshot is due. */
  gapped = false;

  /** Must be made before the first commit of the store. */
  static async attach(options: JournalOptions): Promise<MetaJournal> {
    const journal = new MetaJournal(options);
    const position = await readPosition(options.store);
    if (position !== undefined) {
      journal.#hasLine = true;
      journal.#line.begin(position);
      journal.#early = await readEarly(options.store);
      journal.#close('the journal is not open yet');
    }
    options.store.useLog(journal);
    return journal;
  }

  private constructor(options: JournalOptions) {
    this.mode = options.mode;
    this.#options = options;
    this.#timings = { ...TIMINGS, ...options.timings };
    this.#attachedAt = options.effects.clock.monotonic();
    this.#line = new Appender({
      mode: options.mode,
      clock: options.effects.clock,
      ackMs: this.#timings.ackMs,
      live: () => this.live(),
      generation: () => this.#claim.generation,
      late: () => this.#late(),
    });
    this.#token = options.effects.random.bytes(TOKEN_BYTES).toString('hex');
  }

  /** Begins to look for the nodes; once, when the cluster is known. */
  start(nodes: JournalNodes): void {
    this.#nodes = nodes;
    this.#running = this.#run();
  }

  /** The first layout is made: from now on nothing is acknowledged that is not journaled. */
  begin(): void {
    if (this.#state === 'idle') this.#close('the journal is not open yet');
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    if (this.#state !== 'refused') this.#state = 'stopped';
    await this.#running;
    this.#disconnect();
    this.#line.fail(new Failure('unknown-outcome', 'the metadata service is stopping'));
    this.#readable?.resolve();
  }

  /* ---------------------------------------------------------------- what others see */

  get state(): State {
    return this.#state;
  }

  get problem(): string | undefined {
    if (this.#refusal !== undefined) return this.#refusal.message;
    if (this.#state === 'closed') return this.#problem;
    const live = this.live().length;
    if (this.#state === 'open' && live < COPIES)
      return `${live} of ${COPIES} nodes have the journal`;
    return undefined;
  }

  get claim(): JournalClaim {
    return this.#claim;
  }

  get head(): JournalPosition {
    return this.#line.head;
  }

  /** Newest record that is, or is about to be, in the store. */
  get settled(): JournalPosition {
    return this.#line.settled;
  }

  get floor(): JournalPosition | undefined {
    return this.#line.floor;
  }

  set floor(at: JournalPosition | undefined) {
    this.#line.floor = at;
  }

  /** Bytes of the journal on the nodes, more or less. */
  get bytes(): number {
    return this.#line.bytes;
  }

  /** The last record that the store itself contains; before the first one of a line, where it begins. */
  async stored(): Promise<JournalPosition> {
    const { settled } = this.#line;
    if (!this.#hasLine) return settled;
    return (await readPosition(this.#options.store)) ?? settled;
  }

  /** Records up to `sequence` are gone from the nodes. */
  truncated(sequence: number): void {
    this.#line.truncated(sequence);
  }

  /** Newest record that two nodes or more have. */
  get journaled(): number {
    return this.#line.journaled;
  }

  /** Peers that follow. */
  live(): Peer[] {
    return [...this.#peers.values()].filter((peer) => !peer.ended);
  }

  /**
   * Resolves when reads may be answered: it is certain that this is the newest store, or it has been
   * tried for long enough. Undefined: at once.
   */
  readable(): Promise<void> | undefined {
    return this.#readable?.promise;
  }

  /* ---------------------------------------------------------------- commits */

  refusal(early: boolean): Failure | undefined {
    if (this.#state === 'idle' && this.#nodes?.laidOut() === true) this.begin();
    switch (this.#state) {
      case 'idle':
      case 'open':
        return undefined;
      case 'closed':
        return early || this.#mayLag() ? undefined : new Failure('unavailable', this.#problem);
      case 'refused':
        return this.#refusal;
      case 'stopped':
        return new Failure('unavailable', 'the metadata service is stopping');
    }
  }

  /**
   * Records may follow later (`async`); at a start only when the nodes have had time to tell what this
   * store has missed: what is written before that cannot be joined with it any more.
   */
  #mayLag(): boolean {
    if (this.mode !== 'async') return false;
    const waited = this.#options.effects.clock.monotonic() - this.#attachedAt;
    return this.#opened || !this.#hasLine || waited >= this.#timings.graceMs;
  }

  async record(writes: readonly Write[], early: boolean): Promise<readonly Write[]> {
    const refusal = this.refusal(early);
    if (refusal !== undefined) throw refusal;
    if (this.#state === 'idle') return [];
    if (this.#isClosed()) {
      if (!early && !this.#opened) this.#parted = true;
      return this.#recordLater(writes);
    }
    return [positionRow(await this.#line.append(writes))];
  }

  /** Rows that the first record of the next opening will have. */
  #recordLater(writes: readonly Write[]): Write[] {
    if (this.#dropping) return [];
    for (const { key } of writes) this.#early.add(nameOf(key));
    if (this.#early.size <= EARLY_KEYS_MAX) return [earlyRow(this.#early)];
    // Too much for a record: the next opening begins a new line, with a snapshot.
    this.#dropping = true;
    this.#hasLine = false;
    this.#early.clear();
    return [POSITION_KEY, EARLY_KEY].map((key) => ({ key, stored: undefined }));
  }

  /** A record did not get onto two nodes in time. */
  #late(): void {
    const problem = `fewer than ${COPIES} storage nodes took the metadata journal in time`;
    if (this.#state === 'open') this.#reopen(problem);
    else this.#line.fail(new Failure('unavailable', problem));
  }

  /* ---------------------------------------------------------------- for peers */

  acknowledged(): void {
    this.#line.acknowledged();
  }

  checksum(sequence: number): Promise<bigint | undefined> {
    return this.#line.checksum(sequence);
  }

  records(sequence: number, bytesMax: number): Promise<Buffer | undefined> {
    return this.#line.records(sequence, bytesMax);
  }

  gap(): void {
    this.gapped = true;
  }

  lost(peer: Peer, failure: Failure): void {
    if (this.#peers.get(peer.id) === peer) this.#peers.delete(peer.id);
    if (isFenced(failure)) {
      this.#refuse(
        'another metadata service has taken over this cluster: this one must not go on. ' +
          'Stop it, and start only the one whose disk is the newest.',
      );
      return;
    }
    const { log, effects } = this.#options;
    const now = effects.clock.monotonic();
    if (now - (this.#toldAt.get(peer.id) ?? Number.NEGATIVE_INFINITY) < TELL_EVERY_MS) return;
    this.#toldAt.set(peer.id, now);
    const { message } = failure;
    log.warn({ node: peer.id, reason: message }, 'a node does not follow the metadata journal');
  }

  /* ---------------------------------------------------------------- opening and closing */

  #close(problem: string): void {
    this.#state = 'closed';
    this.#problem = problem;
    if (this.mode === 'async' || this.#opened || this.#readable !== undefined) return;
    this.#readable = Promise.withResolvers();
    // Those who read wait for it; when nobody does, it is told otherwise.
    this.#readable.promise.catch(() => {});
  }

  /** What is on its way is dropped everywhere, under a new generation. */
  #reopen(problem: string): void {
    if (this.#state !== 'open') return;
    this.#options.log.warn({ problem }, 'the metadata journal is closed until it can be kept');
    this.#close(problem);
    this.#drop();
    this.#line.fail(new Failure('unknown-outcome', problem));
  }

  /** Gives up what does not count yet. */
  #drop(): void {
    this.#disconnect();
    this.#line.cut();
    this.#spent = true;
  }

  #disconnect(): void {
    for (const peer of this.#peers.values()) peer.end();
    this.#peers.clear();
  }

  #refuse(message: string): void {
    this.#end(new Failure('conflict', message));
  }

  #end(failure: Failure): void {
    if (this.#state === 'refused' || this.#state === 'stopped') return;
    this.#state = 'refused';
    this.#refusal = new Failure('unavailable', failure.message);
    this.#disconnect();
    this.#line.fail(new Failure('unknown-outcome', failure.message));
    this.#options.log.error({ reason: failure.message }, 'the store is not to be used as it is');
    this.#readable?.reject(this.#refusal);
    this.#options.refused(failure);
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#options.effects;
    const { signal } = this.#ending;
    while (!signal.aborted && this.#state !== 'refused') {
      try {
        if (this.#state === 'idle' && this.#nodes?.laidOut() === true) this.begin();
        if (this.#isClosed()) await this.#open();
        else if (this.#state === 'open') this.#connectOthers();
      } catch (error) {
        const { kind, message } = toFailure(error);
        this.#problem = message;
        this.#options.log.warn({ kind, reason: message }, 'the metadata journal cannot be opened');
        if (this.#isClosed()) this.#drop();
      }
      const pause = this.#timings.roundMs * (0.5 + random.fraction());
      await clock.sleep(pause, signal).catch(() => {});
    }
  }

  async #open(): Promise<void> {
    const nodes = this.#nodes;
    if (nodes === undefined || this.#state !== 'closed') return;
    const { log } = this.#options;
    const found = await this.#ask(nodes);
    if (found === undefined) return;
    if (this.#spent) this.#opening += 1;
    this.#spent = false;
    const generation = nodes.boot * OPENINGS_PER_BOOT + this.#opening;
    this.#claim = { clusterId: nodes.clusterId, generation, token: this.#token };
    const claimed = await this.#claimAll(found);
    if (this.#state !== 'closed') return;
    if (claimed.length < COPIES) throw new Failure('unavailable', 'too few nodes took the claim');
    const states = claimed.map(({ state }) => state);
    const missed = states.some(({ last }) => last.sequence > this.settled.sequence);
    // Not acknowledged by this store, which has gone its own way since.
    if (this.#parted && !this.#opened && missed) this.#hasLine = false;
    if (!this.#hasLine) this.#beginLine(states);
    else if (!this.#opened && (await this.#replay(claimed))) return;
    await nodes.findSnapshots(this.#hasLine ? claimed.map(({ peer }) => peer) : []);
    // Those that agree with us first: the others may need records from them.
    this.#line.measured(
      Math.max(...states.map(({ bytes }) => bytes)),
      Math.min(...states.map(({ base }) => base.sequence)),
    );
    claimed.sort((a, b) => b.state.last.sequence - a.state.last.sequence);
    for (const { peer, state } of claimed) {
      await peer.join(state).then(
        () => this.#follow(peer),
        (error: unknown) => this.lost(peer, toFailure(error)),
      );
    }
    if (this.live().length < COPIES) throw new Failure('unavailable', 'too few nodes follow');
    await nodes.firstSnapshot();
    do await this.#journalEarly();
    while (this.#early.size > 0 && this.#isClosed());
    if (!this.#isClosed() || this.#dropping) return;
    this.#state = 'open';
    this.#hasLine = true;
    this.#opened = true;
    this.#enoughSince = undefined;
    this.#readable?.resolve();
    this.#readable = undefined;
    const { sequence } = this.settled;
    const follow = this.live().map(({ id }) => id);
    log.info({ generation, sequence, nodes: follow }, 'the metadata journal is open');
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** The first record of an opening: what was written before it, if anything. */
  async #journalEarly(): Promise<void> {
    const { store } = this.#options;
    const names = [...this.#early];
    this.#early.clear();
    try {
      const writes: Write[] = [];
      for (const name of names) {
        const key = Buffer.from(name, 'latin1');
        const [row] = await store.get([key]);
        const stored = row ? Buffer.concat([row.stamp, row.value]) : undefined;
        writes.push({ key, stored });
      }
      const position = positionRow(await this.#line.append(writes));
      await store.applyRaw([position, { key: EARLY_KEY, stored: undefined }]);
    } catch (error) {
      for (const name of names) this.#early.add(name);
      throw error;
    }
  }

  /** The nodes' states; undefined: too few answer. Refuses the store when it is an old copy. */
  async #ask(nodes: JournalNodes): Promise<Map<string, { journal: JournalNode }> | undefined> {
    const found = new Map<string, { journal: JournalNode }>();
    const known = nodes.known();
    const enough = Promise.withResolvers<void>();
    const answers = nodes.peers().map(async ({ id, journal }) => {
      const state = await journal.state({ timeoutMs: CALL_TIMEOUT_MS });
      if (isForeign(state, nodes.boot, this.#token)) this.#refuse(OLD_COPY);
      found.set(id, { journal });
      if (found.size >= Math.max(COPIES, known - 1)) enough.resolve();
    });
    // The others get a moment: what follows from the beginning needs not to catch up.
    const { clock } = this.#options.effects;
    const lingering = enough.promise.then(() => clock.sleep(LINGER_MS));
    await Promise.race([Promise.allSettled(answers), lingering]);
    if (!this.#isClosed()) return undefined;
    const answering = `${found.size} of ${known} storage nodes answer`;
    this.#problem =
      found.size < COPIES
        ? `${answering}, and the metadata journal needs ${COPIES}`
        : `${answering}: the metadata journal is being opened`;
    const now = this.#options.effects.clock.monotonic();
    if (found.size < COPIES) {
      this.#enoughSince = undefined;
      return undefined;
    }
    // Any record of two nodes is on one of all but one: then nothing can have been overlooked.
    this.#enoughSince ??= now;
    if (found.size >= known - 1 || this.#opened) return found;
    return now - this.#enoughSince >= this.#timings.graceMs ? found : undefined;
  }

  async #claimAll(
    found: Map<string, { journal: JournalNode }>,
  ): Promise<{ peer: Peer; state: JournalState }[]> {
    const claims = [...found].map(async ([id, { journal }]) => {
      try {
        const state = await journal.claim(this.#claim, { timeoutMs: CALL_TIMEOUT_MS });
        return [{ peer: new Peer(id, journal, this), state }];
      } catch (error) {
        if (isFailure(error, 'fenced')) this.#refuse(OLD_COPY);
        return [];
      }
    });
    return (await Promise.all(claims)).flat();
  }

  #follow(peer: Peer): void {
    this.#peers.get(peer.id)?.end();
    this.#peers.set(peer.id, peer);
    void peer.run();
  }

  /** Nodes that came later, or come back. */
  #connectOthers(): void {
    const nodes = this.#nodes;
    if (nodes === undefined) return;
    const reachable = nodes.peers();
    for (const { id, journal } of reachable) {
      const present = this.#peers.get(id);
      if (this.#joining.has(id) || (present !== undefined && present.journal === journal)) continue;
      this.#joining.add(id);
      void this.#connect(id, journal).finally(() => this.#joining.delete(id));
    }
    for (const [id, peer] of this.#peers) {
      if (reachable.some((one) => one.id === id)) continue;
      peer.end();
      this.#peers.delete(id);
    }
  }

  async #connect(id: string, journal: JournalNode): Promise<void> {
    const { generation } = this.#claim;
    const peer = new Peer(id, journal, this);
    try {
      const state = await journal.claim(this.#claim, { timeoutMs: CALL_TIMEOUT_MS });
      await peer.join(state);
    } catch (error) {
      // By our own next opening, when this claim came late: that is no other service.
      const ours = this.#claim.generation !== generation;
      if (isFailure(error, 'fenced') && !ours) this.lost(peer, error);
      return;
    }
    if (this.#state !== 'open' || this.#claim.generation !== generation) return;
    this.#follow(peer);
    this.acknowledged();
    this.#options.log.info(
      { node: id, sequence: peer.acked },
      'a node follows the metadata journal',
    );
  }

  /** A journal that nobody can take for the continuation of another. */
  #beginLine(states: readonly JournalState[]): void {
    const sequence = Math.max(...states.map(({ last }) => last.sequence)) + 1;
    const checksum = this.#options.effects.random.bytes(8).readBigUInt64BE();
    this.#line.begin({ sequence, checksum });
    this.floor = undefined;
    this.#dropping = false;
  }

  /**
   * Applies records that the nodes have and this store has not. True: the store is not as it was read
   * when the service started, which has to start again.
   */
  async #replay(claimed: readonly { peer: Peer; state: JournalState }[]): Promise<boolean> {
    const from = this.settled.sequence;
    const sources = claimed.map(({ peer, state }) => ({ journal: peer.journal, state }));
    const { at, fits } = await replay({
      store: this.#options.store,
      from: this.settled,
      sources,
      // What this start has written already is newer than any record: above all, its number.
      spared: this.#early,
    });
    this.#line.settle(at);
    if (!fits) {
      this.#refuse(OLD_COPY);
      return true;
    }
    if (at.sequence === from) return false;
    const records = at.sequence - from;
    const message = `${records} records of the metadata journal were not in the store, and are now: starting again`;
    this.#end(new Failure('unavailable', message));
    return true;
  }
}
