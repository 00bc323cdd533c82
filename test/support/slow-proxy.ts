/** A TCP proxy that can be slow, or swallow everything, in front of one service. */
import { createServer, connect, type Socket } from 'node:net';

export interface SlowProxy {
  /** `127.0.0.1:PORT`, once it listens. */
  readonly address: string;
  /** Where it passes everything on to; must be set before the first connection. */
  target: string;
  /** Milliseconds by which every chunk is held back, in both directions; from now on. */
  delayMs: number;
  /** Takes connections and bytes, and passes nothing on. */
  blackHole: boolean;
  /** Cuts what is open. */
  cut(): void;
  close(): Promise<void>;
}

export async function startSlowProxy(): Promise<SlowProxy> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const { port, hostname } = new URL(`tcp://${proxy.target}`);
    const upstream = connect({ host: hostname, port: Number(port), noDelay: true });
    client.setNoDelay(true);
    pass(client, upstream);
    pass(upstream, client);
  });

  function pass(from: Socket, to: Socket): void {
    open.add(from);
    let last = Promise.resolve();
    from.on('data', (chunk: Buffer) => {
      if (proxy.blackHole) return;
      // In order, each one late by the same time.
      const wait = new Promise<void>((resolve) => setTimeout(resolve, proxy.delayMs));
      last = last
        .then(() => wait)
        .then(() => {
          if (!to.destroyed) to.write(chunk);
        });
    });
    from.on('error', () => {});
    from.on('close', () => {
      open.delete(from);
      to.destroy();
    });
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const proxy: SlowProxy = {
    address: `127.0.0.1:${port}`,
    target: '',
    delayMs: 0,
    blackHole: false,
    cut() {
      for (const socket of open) socket.destroy();
    },
    async close() {
      proxy.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
