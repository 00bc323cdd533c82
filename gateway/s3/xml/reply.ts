/** A reply whose body is a document. */
import type { RawReply } from '../request.ts';

export function xmlReply(body: string, headers: RawReply['headers'] = {}): RawReply {
  return { status: 200, headers: { 'Content-Type': 'application/xml', ...headers }, body };
}
