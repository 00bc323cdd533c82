/**
 * The HTTP server of the S3 port: Express with one catch-all handler, which hands every request to
 * the pipeline. No route of Express ever sees an S3 key.
 */
import {
  createServer as createPlainServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import express, { type Express } from 'express';
import type { Effects } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { S3Error } from '../s3/errors.ts';
import type { Pipeline } from '../s3/pipeline.ts';
import { errorDocument } from '../s3/xml/error-document.ts';
import { Exchange } from './reply.ts';
import { HttpRequest } from './request.ts';
import { createIdSource } from './request-id.ts';
import { watchStalls } from './stalls.ts';

/** Certificate and key, PEM. */
interface TlsSettings {
  cert: string | Buffer;
  key: string | Buffer;
}

interface HttpLimits {
  /** Bytes of request line and headers; more is 431. */
  headerBytes: number;
  /** Milliseconds for all headers to arrive. */
  headersTimeoutMs: number;
  /** Milliseconds that an idle connection is kept; above what load balancers use. */
  keepAliveMs: number;
  /** Milliseconds in which a body or reply in transfer must move `stallBytes`. */
  stallMs: number;
  stallBytes: number;
  /** Connections at once; more are dropped. */
  connections: number;
}

const HTTP_LIMITS: HttpLimits = {
  headerBytes: 16 * 1024,
  headersTimeoutMs: 20_000,
  keepAliveMs: 75_000,
  stallMs: 60_000,
  stallBytes: 60 * 1024,
  connections: 10_000,
};

export interface HttpServerOptions {
  pipeline: Pipeline;
  effects: Effects;
  log: Log;
  limits?: Partial<HttpLimits> | undefined;
  tls?: TlsSettings | undefined;
}

interface ListenOptions {
  host: string;
  /** 0: any free one. */
  port: number;
  /** Several processes on one port; the kernel spreads connections. */
  reusePort?: boolean | undefined;
}

export interface HttpServer {
  /** Resolves with the bound address. Rejects with Node's error (EADDRINUSE, EACCES …). */
  listen(options: ListenOptions): Promise<{ host: string; port: number }>;
  /** Connections open at the moment. */
  connections(): Promise<number>;
  /** New certificate for new connections. */
  replaceTls(tls: TlsSettings): void;
  /**
   * Takes no new connections, lets running requests finish (their replies say `Connection: close`)
   * and cuts what is left after `deadlineMs`.
   */
  close(options: { deadlineMs: number }): Promise<void>;
}

/** How often idle connections are looked for while closing. */
const CLOSE_STEP_MS = 50;
/** How often Node looks for connections whose headers are late. */
const CHECK_CONNECTIONS_MS = 5000;
/** For the answer to a request that could not be parsed to reach its client. */
const FAREWELL_MS = 1000;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { effects, log, pipeline } = options;
  const limits: HttpLimits = { ...HTTP_LIMITS, ...options.limits };
  const exchanges = new Set<Exchange>();
  const nextId = createIdSource(effects.random);
  let closing = false;
  const exchangeOptions = { clock: effects.clock, log, isClosing: () => closing };

  /** Connections without any request yet: to Node they are not idle, and closing would wait. */
  const fresh = new Set<Socket>();

  const handle = (message: IncomingMessage, response: ServerResponse): void => {
    fresh.delete(message.socket);
    const request = new HttpRequest(nextId(), message, response);
    const exchange = new Exchange(request, response, exchangeOptions);
    exchanges.add(exchange);
    response.on('close', () => {
      exchanges.delete(exchange);
      exchange.close();
    });
    // Neither the pipeline nor `send` rejects; if one does, it is a bug that must not end the process.
    pipeline(request)
      .then((reply) => exchange.send(reply))
      .catch((error: unknown) => {
        log.error({ requestId: request.id, error }, 'a request escaped its error handling');
        response.destroy();
      });
  };

  const app = createApp(handle);
  const server = createServer(app, limits, options.tls);
  server.on('checkContinue', app);
  // Other expectations are left alone, as AWS does; Node would answer 417 (RFC 9110 section 10.1.1 allows both).
  server.on('checkExpectation', app);
  server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    fresh.add(socket);
    socket.on('close', () => fresh.delete(socket));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    refuseConnection({ error, socket, exchanges, nextId, effects });
  });
  let stalls: { stop(): void } | undefined;

  return {
    async listen(listenOptions) {
      const bound = await listen(server, listenOptions);
      stalls = watchStalls({ exchanges, clock: effects.clock, log, limits });
      return bound;
    },
    connections: () =>
      new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      }),
    replaceTls(tls) {
      if ('setSecureContext' in server) server.setSecureContext(tls);
    },
    async close({ deadlineMs }) {
      closing = true;
      const closed = closeServer(server, effects, deadlineMs);
      for (const socket of fresh) socket.destroy();
      await closed;
      stalls?.stop();
    },
  };
}

/** Express, with everything off that would look at a URL or add a header. */
function createApp(handle: (message: IncomingMessage, response: ServerResponse) => void): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false);
  app.set('query parser', false);
  app.use(handle);
  return app;
}

function createServer(app: Express, limits: HttpLimits, tls: TlsSettings | undefined) {
  const settings: ServerOptions = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: CHECK_CONNECTIONS_MS,
    // A large upload takes as long as it takes; `watchStalls` looks after those that stand still.
    requestTimeout: 0,
    // The pipeline answers a missing Host itself, in XML.
    requireHostHeader: false,
    noDelay: true,
  };
  const server: Server | TlsServer =
    tls === undefined
      ? createPlainServer(settings, app)
      : createTlsServer({ ...settings, ...tls, minVersion: 'TLSv1.2' }, app);
  // Beyond a count Node drops headers silently; the size limit bounds them already.
  server.maxHeadersCount = 0;
  server.maxConnections = limits.connections;
  server.timeout = 0;
  return server;
}

function listen(
  server: Server | TlsServer,
  { host, port, reusePort }: ListenOptions,
): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, reusePort: reusePort === true, backlog: 1024 }, () => {
      server.off('error', reject);
      const bound = server.address() as AddressInfo;
      resolve({ host: bound.address, port: bound.port });
    });
  });
}

async function closeServer(
  server: Server | TlsServer,
  { clock }: Effects,
  deadlineMs: number,
): Promise<void> {
  if (!server.listening) return;
  let closed = false;
  const done = new Promise<void>((resolve) => {
    server.close(() => {
      closed = true;
      resolve();
    });
  });
  // Between two requests a connection is idle only for a moment: look again and again.
  const startedMs = clock.monotonic();
  const step = (): void => {
    if (closed) return;
    if (clock.monotonic() - startedMs >= deadlineMs) server.closeAllConnections();
    else server.closeIdleConnections();
    clock.after(CLOSE_STEP_MS, step);
  };
  step();
  await done;
}

interface Refused {
  error: NodeJS.ErrnoException;
  socket: Duplex;
  exchanges: ReadonlySet<Exchange>;
  nextId: () => string;
  effects: Effects;
}

/** Answers what Node's parser would not take, in XML, and closes. */
function refuseConnection({ error, socket, exchanges, nextId, effects }: Refused): void {
  if (socket.destroyed || !socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const active = [...exchanges].filter((exchange) => exchange.request.isOn(socket));
  // With a reply begun, or several due, an answer here would land in the wrong place.
  if (active.length > 1 || active.some((exchange) => exchange.response.headersSent)) {
    socket.destroy();
    return;
  }
  const refusal = parserError(error.code);
  const id = nextId();
  const body = errorDocument(refusal, { resource: '', requestId: id, hostId: id });
  const date = new Date(effects.clock.now()).toUTCString();
  socket.end(
    `HTTP/1.1 ${refusal.status} ${refusal.code}\r\nContent-Type: application/xml\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\nServer: Ashlar\r\n` +
      `Date: ${date}\r\nx-amz-request-id: ${id}\r\nx-amz-id-2: ${id}\r\n\r\n${body}`,
  );
  effects.clock.after(FAREWELL_MS, () => socket.destroy());
}

function parserError(code: string | undefined): S3Error {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new S3Error('RequestHeaderSectionTooLarge');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new S3Error('RequestTimeout');
    default:
      return new S3Error('BadRequest', {
        message: 'An error occurred when parsing the HTTP request.',
      });
  }
}
