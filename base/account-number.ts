/** Numbers of accounts, for who makes accounts and who only knows an id. */
import { createHash } from 'node:crypto';

/** The number of an account that was given none: 12 digits made of its id, always the same. */
export function numberOf(id: string): string {
  const digest = createHash('sha256').update(`account number of ${id}`).digest();
  return String(digest.readUIntBE(0, 6) % 1_000_000_000_000).padStart(12, '0');
}
