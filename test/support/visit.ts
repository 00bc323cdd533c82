/** Visits to websites: any Host on any port, over bare sockets, since fetch chooses Host itself. */
import { exchange, type RawAnswer, requestHead } from './raw.ts';

export interface VisitOptions {
  method?: string;
  headers?: Readonly<Record<string, string>>;
}

export function visit(
  endpoint: string,
  host: string,
  target: string,
  { method = 'GET', headers = {} }: VisitOptions = {},
): Promise<RawAnswer> {
  return exchange(endpoint, requestHead(method, target, { host, ...headers }), '');
}
