/** Files with known content for tests. */
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** `size` bytes that look random and depend on `seed` alone. */
export function seededBytes(seed: string, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let state = createHash('sha256').update(seed).digest().readUInt32LE(0) | 1;
  for (let at = 0; at < size; at++) {
    // xorshift32: fast, and good enough that neither block nor shift repeats.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state & 0xff;
  }
  return bytes;
}

/** Writes a tree of files: path → size in bytes. Returns path → SHA-256. */
export function writeTree(
  folder: string,
  files: Readonly<Record<string, number>>,
): Map<string, string> {
  const hashes = new Map<string, string>();
  for (const [path, size] of Object.entries(files)) {
    const content = seededBytes(path, size);
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
    hashes.set(path, createHash('sha256').update(content).digest('hex'));
  }
  return hashes;
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Path → SHA-256 of every file below `folder`. */
export async function hashTree(folder: string): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  const visit = async (current: string): Promise<void> => {
    for (const name of readdirSync(current).sort()) {
      const path = join(current, name);
      if (statSync(path).isDirectory()) await visit(path);
      else hashes.set(relative(folder, path), await hashFile(path));
    }
  };
  await visit(folder);
  return hashes;
}
