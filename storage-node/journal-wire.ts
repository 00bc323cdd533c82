/**
 * How the calls of the metadata journal travel: one method, `journal`, whose meta is a list that
 * begins with the call's name; records and chunks are the payload. Checksums and tokens are hex.
 */
import { Failure } from '../base/failure.ts';
import type { RpcChannel, RpcMessage, RpcMeta, RpcRequest } from '../base/rpc/rpc.ts';
import type {
  JournalClaim,
  JournalNode,
  JournalPosition,
  JournalState,
  SnapshotName,
  StoredSnapshot,
} from './protocol.ts';

const NO_BYTES: Buffer = Buffer.alloc(0);
const invalid = (what: string): Failure => new Failure('invalid', `not a journal call: ${what}`);

/* ------------------------------------------------------------------ fields */

function listOf(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw invalid('no list');
  return value as unknown[];
}

function numberOf(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw invalid('no number');
  return value as number;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string' || value.length > 256) throw invalid('no text');
  return value;
}

function checksumOf(value: unknown): bigint {
  const text = textOf(value);
  if (!/^[0-9a-f]{1,16}$/.test(text)) throw invalid('no checksum');
  return BigInt(`0x${text}`);
}

const packPosition = ({ sequence, checksum }: JournalPosition) => [sequence, checksum.toString(16)];

function positionOf(value: unknown): JournalPosition {
  const [sequence, checksum] = listOf(value);
  return { sequence: numberOf(sequence), checksum: checksumOf(checksum) };
}

const packClaim = ({ clusterId, generation, token }: JournalClaim) => [
  clusterId,
  generation,
  token,
];

function claimOf(value: unknown): JournalClaim {
  const [clusterId, generation, token] = listOf(value);
  const hex = textOf(token);
  if (!/^(?:[0-9a-f]{2})*$/.test(hex)) throw invalid('no token');
  return { clusterId: textOf(clusterId), generation: numberOf(generation), token: hex };
}

const packName = ({ sequence, generation }: SnapshotName) => [sequence, generation];

function nameOf(value: unknown): SnapshotName {
  const [sequence, generation] = listOf(value);
  return { sequence: numberOf(sequence), generation: numberOf(generation) };
}

const packState = (state: JournalState) => [
  state.node,
  state.clusterId ?? null,
  state.generation,
  state.token,
  packPosition(state.base),
  packPosition(state.last),
  state.lastGeneration,
  state.bytes,
];

function stateOf(meta: RpcMeta): JournalState {
  const [node, clusterId, generation, token, base, last, lastGeneration, bytes] = listOf(meta);
  return {
    node: textOf(node),
    clusterId: clusterId === null ? undefined : textOf(clusterId),
    generation: numberOf(generation),
    token: textOf(token),
    base: positionOf(base),
    last: positionOf(last),
    lastGeneration: numberOf(lastGeneration),
    bytes: numberOf(bytes),
  };
}

/* ------------------------------------------------------------------ server */

const CALLS: Readonly<
  Record<string, (node: JournalNode, args: unknown[], payload: Buffer) => Promise<RpcMessage>>
> = {
  state: async (node) => ({ meta: packState(await node.state()) }),
  claim: async (node, [claim]) => ({ meta: packState(await node.claim(claimOf(claim))) }),
  trim: async (node, [claim, keep]) => ({
    meta: packState(await node.trim({ claim: claimOf(claim), keep: positionOf(keep) })),
  }),
  append: async (node, [claim], records) => ({
    meta: packPosition(await node.append({ claim: claimOf(claim), records })),
  }),
  async read(node, [from, bytesMax]) {
    const query = { from: numberOf(from), bytesMax: numberOf(bytesMax) };
    const { records, next } = await node.read(query);
    return { meta: next ?? null, payload: records };
  },
  async truncate(node, [claim, upTo]) {
    await node.truncate({ claim: claimOf(claim), upTo: numberOf(upTo) });
    return { meta: undefined };
  },
  async putChunk(node, [claim, snapshot, index], bytes) {
    const chunk = { snapshot: nameOf(snapshot), index: numberOf(index), bytes };
    await node.putChunk({ claim: claimOf(claim), ...chunk });
    return { meta: undefined };
  },
  async chunk(node, [snapshot, index]) {
    const bytes = await node.chunk({ snapshot: nameOf(snapshot), index: numberOf(index) });
    return { meta: undefined, payload: bytes };
  },
  async snapshots(node) {
    const found = (await node.snapshots()).map((one) => [...packName(one), one.chunks]);
    return { meta: undefined, payload: Buffer.from(JSON.stringify(found)) };
  },
  async dropSnapshot(node, [claim, snapshot]) {
    await node.dropSnapshot({ claim: claimOf(claim), snapshot: nameOf(snapshot) });
    return { meta: undefined };
  },
};

/** Answers a `journal` call. */
export async function serveJournal(
  node: JournalNode | undefined,
  request: RpcRequest,
): Promise<RpcMessage> {
  if (node === undefined) throw new Failure('unavailable', 'this node keeps no journal');
  const [name, ...args] = listOf(request.meta);
  const call = Object.hasOwn(CALLS, String(name)) ? CALLS[String(name)] : undefined;
  if (call === undefined) throw invalid('unknown');
  return await call(node, args, request.payload ?? NO_BYTES);
}

/* ------------------------------------------------------------------ client */

function snapshotsOf(payload: Buffer | undefined): StoredSnapshot[] {
  const found = JSON.parse((payload ?? Buffer.from('[]')).toString('utf8')) as unknown;
  return listOf(found).map((one) => {
    const [sequence, generation, chunks] = listOf(one);
    return { ...nameOf([sequence, generation]), chunks: listOf(chunks).map(numberOf) };
  });
}

/** `JournalNode` over the channel; `method` is the number of `journal`. */
export function createJournalClient(channel: RpcChannel, method: number): JournalNode {
  const call = (args: unknown[], options: Parameters<JournalNode['state']>[0], payload?: Buffer) =>
    channel.call(method, { meta: args, payload }, options);
  return {
    state: async (options) => stateOf((await call(['state'], options)).meta),
    claim: async (claim, options) =>
      stateOf((await call(['claim', packClaim(claim)], options)).meta),
    trim: async ({ claim, keep }, options) =>
      stateOf((await call(['trim', packClaim(claim), packPosition(keep)], options)).meta),
    append: async ({ claim, records }, options) =>
      positionOf((await call(['append', packClaim(claim)], options, records)).meta),
    async read({ from, bytesMax }, options) {
      const { meta, payload } = await call(['read', from, bytesMax], options);
      return { records: payload ?? NO_BYTES, next: meta === null ? undefined : numberOf(meta) };
    },
    async truncate({ claim, upTo }, options) {
      await call(['truncate', packClaim(claim), upTo], options);
    },
    async putChunk({ claim, snapshot, index, bytes }, options) {
      await call(['putChunk', packClaim(claim), packName(snapshot), index], options, bytes);
    },
    async chunk({ snapshot, index }, options) {
      return (await call(['chunk', packName(snapshot), index], options)).payload ?? NO_BYTES;
    },
    snapshots: async (options) => snapshotsOf((await call(['snapshots'], options)).payload),
    async dropSnapshot({ claim, snapshot }, options) {
      await call(['dropSnapshot', packClaim(claim), packName(snapshot)], options);
    },
  };
}
