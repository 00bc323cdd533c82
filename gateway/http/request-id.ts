/** Request ids: 16 upper-case hex digits, random. */
import type { Random } from '../../base/clock.ts';

const ID_BYTES = 8;
/** Ids per call for randomness: asking for 8 bytes at a time costs as much as a whole request line. */
const BATCH = 256;

export function createIdSource(random: Random): () => string {
  let pool = '';
  let next = 0;
  return () => {
    if (next >= pool.length) {
      pool = random
        .bytes(ID_BYTES * BATCH)
        .toString('hex')
        .toUpperCase();
      next = 0;
    }
    const id = pool.slice(next, next + 2 * ID_BYTES);
    next += 2 * ID_BYTES;
    return id;
  };
}
