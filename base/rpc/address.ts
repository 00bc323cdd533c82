/** Addresses of services: `host:port`, `[v6]:port` or `unix:/path`. */
import { Failure } from '../failure.ts';
import type { Address } from './rpc.ts';

export type ParsedAddress =
  | { kind: 'tcp'; host: string; port: number }
  | { kind: 'unix'; path: string };

/** What a socket address can hold on every system we run on (macOS: 104 with the final zero). */
const UNIX_PATH_BYTES_MAX = 103;

const TCP_PATTERN = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]/\s]+)):(\d{1,5})$/;

/** Throws Failure `invalid` for anything but the three forms. Port 0 is allowed (to listen on). */
export function parseAddress(address: Address): ParsedAddress {
  if (address.startsWith('unix:')) {
    const path = address.slice('unix:'.length);
    if (!path.startsWith('/') || path.includes('\0')) {
      throw new Failure('invalid', `a Unix socket needs an absolute path: ${address}`);
    }
    if (Buffer.byteLength(path) > UNIX_PATH_BYTES_MAX) {
      throw new Failure(
        'invalid',
        `a Unix socket path has at most ${UNIX_PATH_BYTES_MAX} bytes: ${path}`,
      );
    }
    return { kind: 'unix', path };
  }
  const match = TCP_PATTERN.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65_535)) {
    throw new Failure('invalid', `not an address (host:port, [v6]:port, unix:/path): ${address}`);
  }
  return { kind: 'tcp', host, port };
}

/** The inverse of `parseAddress`. */
export function formatAddress(address: ParsedAddress): Address {
  if (address.kind === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}
