/**
 * The listening side of the internal RPC: accepts connections over TCP or a Unix socket, has them
 * prove the cluster's secret, and hands their requests to one handler.
 */
import { unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Effects, Timer } from '../clock.ts';
import { Failure } from '../failure.ts';
import type { Log } from '../log.ts';
import { formatAddress, parseAddress, type ParsedAddress } from './address.ts';
import { DeadlineSweep } from './deadline-sweep.ts';
import { clusterKey, Handshake, NONCE_BYTES } from './handshake.ts';
import { checkLimits } from './limits.ts';
import type { Address, RpcHandler, RpcLimits } from './rpc.ts';
import { ServerConnection, type ServerContext } from './server-connection.ts';

/** Authenticated connections of one server unless told otherwise. */
const CONNECTIONS_MAX = 1_024;
/** Connections that have not proved themselves yet: a place for strangers, apart from our own. */
const HANDSHAKES_MAX = 256;
const HANDSHAKE_MS = 5_000;
/** Requests of one connection that are worked on at once unless told otherwise. */
const IN_FLIGHT_MAX = 256;
/** Clients ping every few seconds: a connection silent for this long has lost its peer. */
const SILENCE_MS = 30_000;
/** Strangers may knock often; the log hears of it at most this often. */
const REFUSAL_LOG_MS = 1_000;

export interface RpcServerOptions {
  /** The cluster's secret, at least 16 bytes. */
  secret: string;
  /**
   * Called once per request. A payload that it returns must never change afterwards. The memory
   * that answers to a slow reader can take per connection is 4 MiB plus `maxInFlightPerConnection`
   * times the largest answer.
   */
  handler: RpcHandler;
  limits: RpcLimits;
  effects: Effects;
  log: Log;
  /** Default 1,024. Further ones are closed. */
  maxConnections?: number | undefined;
  /** Default 256. Further requests wait, unread. */
  maxInFlightPerConnection?: number | undefined;
}

export interface RpcServer {
  /**
   * Resolves with the bound address (port 0 resolved). A Unix socket file that a dead process left
   * is replaced. Failures: `invalid` (address), `unavailable` (in use, not permitted).
   */
  listen(address: Address): Promise<Address>;
  /**
   * Stops accepting, answers new requests with `unavailable`, waits up to `graceMs` for running
   * ones (those of lost connections too), then ends what is left. Resolves when all sockets are
   * closed. Repeating it is harmless.
   */
  close(options: { graceMs: number }): Promise<void>;
}

/** Throws Failure `invalid` for a short secret or limits that make no sense. */
export function createRpcServer(options: RpcServerOptions): RpcServer {
  return new NetRpcServer(options);
}

class NetRpcServer implements RpcServer {
  readonly #options: RpcServerOptions;
  readonly #key: Buffer;
  readonly #context: ServerContext;
  readonly #sweep: DeadlineSweep;
  readonly #server: Server;
  /** Every open connection; the timer limits its handshake. */
  readonly #connections = new Map<ServerConnection, Timer>();
  #handshakes = 0;
  /** Requests running, those of ended connections included. */
  #running = 0;
  #draining = false;
  #onQuiet: (() => void) | undefined;
  #silenceTimer: Timer | undefined;
  #closed: Promise<void> | undefined;
  #refusalLoggedAt = Number.NEGATIVE_INFINITY;
  #refusals = 0;

  constructor(options: RpcServerOptions) {
    checkLimits(options.limits);
    this.#options = options;
    this.#key = clusterKey(options.secret);
    const { clock } = options.effects;
    this.#sweep = new DeadlineSweep(clock, (dueMs) => this.#expire(dueMs));
    this.#context = {
      handler: options.handler,
      limits: options.limits,
      clock,
      sweep: this.#sweep,
      maxInFlight: options.maxInFlightPerConnection ?? IN_FLIGHT_MAX,
      isDraining: () => this.#draining,
      onAuthenticated: (connection) => this.#onAuthenticated(connection),
      onRequestStart: () => {
        this.#running += 1;
      },
      onRequestEnd: () => this.#onRequestEnd(),
      onEnd: (connection, failure) => this.#onEnd(connection, failure),
    };
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
      this.#accept(socket),
    );
  }

  async listen(address: Address): Promise<Address> {
    const parsed = parseAddress(address);
    try {
      await this.#bind(parsed);
    } catch (error) {
      if (!isSystemError(error, 'EADDRINUSE') || parsed.kind !== 'unix') throw cannotListen(error);
      if (await answers(parsed.path)) throw cannotListen(error);
      await unlink(parsed.path);
      await this.#bind(parsed).catch((again: unknown) => {
        throw cannotListen(again);
      });
    }
    this.#server.on('error', (error) => {
      // Out of file descriptors, for one: what is open goes on, accepting is tried again by Node.
      this.#options.log.error({ error }, 'accepting a connection failed');
    });
    this.#watchSilence();
    const bound = this.#server.address();
    if (parsed.kind === 'unix' || bound === null || typeof bound === 'string') return address;
    return formatAddress({ ...parsed, port: bound.port });
  }

  close(options: { graceMs: number }): Promise<void> {
    this.#closed ??= this.#close(options.graceMs);
    return this.#closed;
  }

  #bind(address: ParsedAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      const onListening = () => {
        this.#server.off('error', reject);
        resolve();
      };
      if (address.kind === 'unix') this.#server.listen({ path: address.path }, onListening);
      else this.#server.listen({ host: address.host, port: address.port }, onListening);
    });
  }

  async #close(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#silenceTimer?.cancel();
    const serverClosed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const connection of this.#connections.keys()) {
      if (!connection.authenticated) connection.end(undefined);
    }
    if (graceMs > 0) await this.#drain(graceMs, serverClosed);
    else this.#endAll();
    await serverClosed;
    this.#sweep.stop();
  }

  /** Resolves when the last request has ended and connections are ending, or the grace is over. */
  async #drain(graceMs: number, serverClosed: Promise<void>): Promise<void> {
    const quiet = new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
      if (this.#running === 0) resolve();
    });
    const graceOver = new Promise<void>((resolve) => {
      const timer = this.#options.effects.clock.after(graceMs, () => {
        this.#endAll();
        resolve();
      });
      // Also limits how long a peer may take to read the last answers.
      void Promise.all([serverClosed, quiet]).then(() => timer.cancel());
    });
    await Promise.race([quiet, graceOver]);
    for (const connection of this.#connections.keys()) connection.finish();
  }

  #endAll(): void {
    for (const connection of this.#connections.keys()) connection.end(undefined);
  }

  /* ---------------------------------------------------------------- connections */

  #accept(socket: Socket): void {
    if (this.#draining || this.#handshakes >= HANDSHAKES_MAX) {
      socket.destroy();
      return;
    }
    const { clock, random } = this.#options.effects;
    const handshake = new Handshake('server', this.#key, random.bytes(NONCE_BYTES));
    const connection = new ServerConnection(socket, handshake, this.#context);
    this.#handshakes += 1;
    const limit = clock.after(HANDSHAKE_MS, () => {
      connection.end(new Failure('timeout', 'the peer did not prove itself in time'));
    });
    this.#connections.set(connection, limit);
  }

  #onAuthenticated(connection: ServerConnection): void {
    this.#connections.get(connection)?.cancel();
    this.#handshakes -= 1;
    const max = this.#options.maxConnections ?? CONNECTIONS_MAX;
    if (this.#connections.size - this.#handshakes > max) {
      connection.end(new Failure('unavailable', `more than ${max} connections`));
    }
  }

  #onRequestEnd(): void {
    this.#running -= 1;
    if (this.#running === 0) this.#onQuiet?.();
  }

  #onEnd(connection: ServerConnection, failure: Failure | undefined): void {
    this.#connections.get(connection)?.cancel();
    this.#connections.delete(connection);
    if (!connection.authenticated) this.#handshakes -= 1;
    if (failure === undefined) return;
    const { clock } = this.#options.effects;
    const now = clock.monotonic();
    if (!connection.authenticated && now - this.#refusalLoggedAt < REFUSAL_LOG_MS) {
      this.#refusals += 1;
      return;
    }
    const fields = { peer: connection.peer, error: failure, alsoRefused: this.#refusals };
    if (!connection.authenticated) {
      this.#refusalLoggedAt = now;
      this.#refusals = 0;
    }
    this.#options.log.warn(fields, 'ended the connection of a peer');
  }

  /* ---------------------------------------------------------------- time */

  #expire(dueMs: number): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const connection of this.#connections.keys()) {
      earliest = Math.min(earliest, connection.expire(dueMs));
    }
    return earliest;
  }

  #watchSilence(): void {
    this.#silenceTimer = this.#options.effects.clock.after(SILENCE_MS, () => {
      for (const connection of this.#connections.keys()) {
        if (!connection.heard && !connection.paused && connection.authenticated) {
          connection.end(new Failure('timeout', 'the peer is silent'));
        }
        connection.heard = false;
      }
      this.#watchSilence();
    });
  }
}

function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

function cannotListen(error: unknown): Failure {
  const text = error instanceof Error ? error.message : String(error);
  return new Failure('unavailable', `cannot listen: ${text}`, { cause: error });
}

/** Whether a process accepts connections on this socket file. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(!isSystemError(error, 'ECONNREFUSED')));
  });
}
