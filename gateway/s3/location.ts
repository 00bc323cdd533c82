/** The address of an object, for those who have just made it. */
import { urlEncode } from './xml/elements.ts';

/** Under the name by which the client reached us; without one, a path. */
export function locationOf(host: string | undefined, bucket: string, key: string): string {
  const path = `/${urlEncode(key)}`;
  if (host === undefined) return `/${bucket}${path}`;
  return host.startsWith(`${bucket}.`)
    ? `http://${host}${path}`
    : `http://${host}/${bucket}${path}`;
}
