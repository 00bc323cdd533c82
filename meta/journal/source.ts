/**
 * Where a store can be made anew from: the storage nodes, or a backup's folder. Both hold snapshots
 * and records, some of which may be damaged or missing.
 */
import { Failure, isFailure } from '../../base/failure.ts';
import {
  decodeJournalRecords,
  JOURNAL_BYTES_MAX,
  type JournalNode,
  type JournalPosition,
  type JournalRecord,
  type JournalState,
  type SnapshotName,
} from '../../storage-node/protocol.ts';
import {
  chunkChecksum,
  decodeManifest,
  digestOf,
  type Manifest,
  MANIFEST_INDEX,
  verifyChunk,
} from './snapshot-format.ts';

const CALL_TIMEOUT_MS = 20_000;

export interface JournalSource {
  /** Whole snapshots, as far as their manifests tell; newest first. */
  manifests(): Promise<Manifest[]>;
  /** A verified chunk. Failure `corrupt` when no copy of it is good. */
  chunk(snapshot: SnapshotName, index: number): Promise<Buffer>;
  /** All good records after `sequence`, in any order, some perhaps twice. */
  records(sequence: number): Promise<JournalRecord[]>;
}

export interface SourceNode {
  id: string;
  journal: JournalNode;
}

/** The journals of storage nodes that can be reached. */
export function nodesSource(nodes: readonly SourceNode[]): JournalSource {
  return {
    async manifests() {
      const found = new Map<string, Manifest>();
      for (const { journal } of nodes) {
        for (const manifest of await manifestsOn(journal)) found.set(nameOf(manifest), manifest);
      }
      return newestFirst([...found.values()]);
    },
    async chunk(snapshot, index) {
      for (const { journal } of nodes) {
        try {
          const options = { timeoutMs: CALL_TIMEOUT_MS };
          const bytes = await journal.chunk({ snapshot, index }, options);
          verifyChunk(snapshot, index, bytes);
          return bytes;
        } catch (error) {
          if (isFailure(error, 'invalid')) throw error;
        }
      }
      throw new Failure(
        'corrupt',
        `chunk ${index} of snapshot ${nameOf(snapshot)} is nowhere good`,
      );
    },
    async records(sequence) {
      const found: JournalRecord[] = [];
      for (const { journal } of nodes) found.push(...(await recordsOn(journal, sequence)));
      return found;
    },
  };
}

/** Manifests of snapshots that are whole on this node. */
export async function manifestsOn(journal: JournalNode): Promise<Manifest[]> {
  const options = { timeoutMs: CALL_TIMEOUT_MS };
  const found: Manifest[] = [];
  for (const { chunks, ...snapshot } of await journal.snapshots(options)) {
    if (!chunks.includes(MANIFEST_INDEX)) continue;
    try {
      const bytes = await journal.chunk({ snapshot, index: MANIFEST_INDEX }, options);
      const manifest = decodeManifest(snapshot, bytes);
      if (chunks.length === manifest.chunks + 1) found.push(manifest);
    } catch (error) {
      if (!isFailure(error, 'corrupt', 'not-found')) throw error;
    }
  }
  return newestFirst(found);
}

async function recordsOn(journal: JournalNode, sequence: number): Promise<JournalRecord[]> {
  const found: JournalRecord[] = [];
  let from: number | undefined = sequence + 1;
  while (from !== undefined) {
    const query = { from, bytesMax: JOURNAL_BYTES_MAX };
    const page = await journal.read(query, { timeoutMs: CALL_TIMEOUT_MS });
    found.push(...decodeJournalRecords(page.records));
    from = page.next;
  }
  return found;
}

const nameOf = ({ sequence, generation }: SnapshotName): string => `${sequence}-${generation}`;

export const newestFirst = (manifests: Manifest[]): Manifest[] =>
  manifests.sort((a, b) => b.generation - a.generation || b.sequence - a.sequence);

/** Every chunk of the snapshot, verified, and the whole against its manifest. */
export async function* chunksOf(
  source: JournalSource,
  manifest: Manifest,
): AsyncGenerator<{ index: number; bytes: Buffer }> {
  const checksums: bigint[] = [];
  for (let index = 0; index < manifest.chunks; index++) {
    const bytes = await source.chunk(manifest, index);
    checksums.push(chunkChecksum(bytes));
    yield { index, bytes };
  }
  if (digestOf(checksums) !== manifest.digest) {
    throw new Failure('corrupt', `snapshot ${nameOf(manifest)} is not the one of its manifest`);
  }
}

/* ------------------------------------------------------------------ choosing */

/**
 * The records that follow `start` without a gap. Where two of them claim the same place, the one of
 * the later opening is right: that opening had dropped the other.
 */
export function chainFrom(
  start: JournalPosition,
  records: readonly JournalRecord[],
): JournalRecord[] {
  const bySequence = new Map<number, JournalRecord[]>();
  for (const record of records) {
    const others = bySequence.get(record.sequence);
    if (others === undefined) bySequence.set(record.sequence, [record]);
    else if (!others.some(({ checksum }) => checksum === record.checksum)) others.push(record);
  }
  const chain: JournalRecord[] = [];
  for (let at = start; ; ) {
    const next = (bySequence.get(at.sequence + 1) ?? [])
      .filter(({ previous }) => previous === at.checksum)
      .sort((a, b) => b.generation - a.generation)[0];
    if (next === undefined) return chain;
    chain.push(next);
    at = next;
  }
}

export interface Chosen {
  manifest: Manifest;
  /** To be applied on the snapshot's rows, in order. */
  chain: JournalRecord[];
  /** Records that are newer, and of no use because others before them are missing. */
  cutOff: number;
}

/**
 * The snapshot and records that give the newest state, or the newest one up to `untilMs`. Failures:
 * `not-found` (nothing whole is there), `corrupt` (only snapshots whose records are missing).
 */
export async function choose(source: JournalSource, untilMs?: number): Promise<Chosen> {
  const manifests = await source.manifests();
  const oldest = Math.min(...manifests.map(({ sequence }) => sequence));
  const records = manifests.length === 0 ? [] : await source.records(oldest);
  const usable = manifests
    .map((manifest) => {
      const chain = chainFrom(manifest.start, records);
      const wanted = chain.findIndex((record) => record.atMs > (untilMs ?? Infinity));
      const reached = endOf(manifest, chain).sequence;
      const cutOff = new Set(records.map((record) => record.sequence).filter((at) => at > reached));
      const used = wanted === -1 ? chain : chain.slice(0, wanted);
      return { manifest, chain: used, cutOff: cutOff.size };
    })
    .filter(({ manifest, chain }) => endOf(manifest, chain).sequence >= manifest.until)
    .filter(
      ({ manifest: { atMs, until, sequence } }) =>
        // Complete by then; or records that it needs, all from before then, show that it was.
        untilMs === undefined || atMs <= untilMs || until > sequence,
    )
    .sort((a, b) => generationOf(b) - generationOf(a) || lengthOf(b) - lengthOf(a));
  const best = usable[0];
  if (best !== undefined) return best;
  if (manifests.length === 0) {
    throw new Failure('not-found', 'there is no whole snapshot of the metadata here');
  }
  throw new Failure(
    untilMs === undefined ? 'corrupt' : 'not-found',
    untilMs === undefined
      ? 'no snapshot of the metadata has all the records that it needs'
      : `the journal does not reach back to ${new Date(untilMs).toISOString()}`,
  );
}

export function endOf(manifest: Manifest, chain: readonly JournalRecord[]): JournalPosition {
  return chain.at(-1) ?? manifest.start;
}

const lengthOf = ({ manifest, chain }: Pick<Chosen, 'manifest' | 'chain'>): number =>
  endOf(manifest, chain).sequence;

const generationOf = ({ manifest, chain }: Pick<Chosen, 'manifest' | 'chain'>): number =>
  chain.at(-1)?.generation ?? manifest.generation;

/** States of the nodes that answer. */
export async function statesOf(
  nodes: readonly SourceNode[],
): Promise<{ node: SourceNode; state: JournalState }[]> {
  const answers = await Promise.allSettled(
    nodes.map(async (node) => ({
      node,
      state: await node.journal.state({ timeoutMs: CALL_TIMEOUT_MS }),
    })),
  );
  return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
}
