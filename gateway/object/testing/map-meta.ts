/**
 * A metadata service in Maps that knows what the object engine leans on: leases with marks, objects,
 * part lists, fencing. Everything else is refused. Test support.
 */
import { Failure } from '../../../base/failure.ts';
import {
  type Answer,
  type Bucket,
  type ClusterView,
  type Meta,
  type MissingReplica,
  type ObjectRecord,
  type PartRef,
  type ReadPartsQuery,
  REPLICAS,
  type ReplicaReport,
  type WriterMarks,
} from '../../../meta/protocol.ts';

const refuse = () => Promise.reject(new Failure('internal', 'not part of this test'));

const BUCKET: Bucket = {
  id: 1,
  name: 'b',
  owner: 'o',
  region: 'r',
  createdMs: 0,
  revision: 1,
  configs: [],
};

export interface MapMeta extends Meta {
  readonly objects: Map<string, ObjectRecord>;
  readonly lists: Map<string, PartRef[]>;
  readonly missing: MissingReplica[];
  readonly reports: ReplicaReport[];
  /** Marks of the leases that stand. */
  readonly writers: Map<number, WriterMarks | undefined>;
  readonly closed: number[];
  view: ClusterView;
  readEpoch: number;
  ttlMs: number;
  partsPerPage: number;
  /** How every call fails from now on; `hang` never answers. */
  outage: Failure | 'hang' | undefined;
  /** How commits fail after they were applied. */
  commitFailure: Failure | undefined;
  /** How renewals fail. */
  renewFailure: Failure | undefined;
  /** Called for every page of a part list that is asked for. */
  onReadParts: ((query: ReadPartsQuery) => void) | undefined;
  /** Makes an object of several stored blobs visible. */
  join(key: string, parts: readonly ObjectRecord[]): void;
}

export function createMapMeta(view: ClusterView): MapMeta {
  let nextWriter = 1;
  const objects = new Map<string, ObjectRecord>();
  const lists = new Map<string, PartRef[]>();

  async function face(): Promise<void> {
    if (meta.outage === 'hang') await new Promise(() => {});
    if (meta.outage instanceof Failure) throw meta.outage;
  }

  function pageOf(parts: PartRef[], from: ReadPartsQuery['from']): PartRef[] {
    const size = meta.partsPerPage;
    let first = 0;
    if ('after' in from) first = parts.findIndex((part) => part.number > from.after);
    else if ('part' in from) first = parts.findIndex((part) => part.number === from.part);
    else first = parts.findIndex((part) => part.offset + part.size > from.offset);
    if (first < 0) return [];
    // Pages have fixed borders, so the one that holds a part may begin before it.
    const start = 'after' in from ? first : first - (first % size);
    return parts.slice(start, start + size);
  }

  const meta: MapMeta = {
    objects,
    lists,
    missing: [],
    reports: [],
    writers: new Map(),
    closed: [],
    view,
    readEpoch: 1,
    ttlMs: 5000,
    partsPerPage: 3,
    outage: undefined,
    commitFailure: undefined,
    renewFailure: undefined,
    onReadParts: undefined,
    join(key, parts) {
      let offset = 0;
      const refs = parts.map(({ size, data, etag }, index): PartRef => {
        const ref = { number: 2 * index + 1, offset, size, etag };
        offset += size;
        return data.kind === 'blob' ? { ...ref, data } : ref;
      });
      const list = `list-${key}`;
      lists.set(list, refs);
      const data = { kind: 'parts' as const, list, size: offset, count: refs.length };
      const encryption = parts[0]?.encryption;
      objects.set(key, { ...recordOf(offset), data, ...(encryption && { encryption }) });
    },
    async putObject(command) {
      await face();
      if (!meta.writers.has(command.writer)) throw new Failure('fenced', 'the lease has ended');
      if (command.condition?.ifNoneMatch === '*' && objects.has(command.key)) {
        return { ok: false, refusal: 'PreconditionFailed' };
      }
      const { size, etag, data, encryption } = command.object;
      const record = { ...recordOf(size), etag, data, ...(encryption && { encryption }) };
      objects.set(command.key, record);
      meta.missing.push(...command.missing);
      if (meta.commitFailure !== undefined) throw meta.commitFailure;
      return { ok: true, value: { version: record.version, etag, modifiedMs: 0 } };
    },
    async getObject({ key, withParts }) {
      await face();
      const object = objects.get(key);
      if (object === undefined) return { ok: false, refusal: 'NoSuchKey' };
      const found = { bucket: BUCKET, object };
      if (object.data.kind !== 'parts' || !withParts) return { ok: true, value: found };
      const parts = pageOf(lists.get(object.data.list) ?? [], { offset: 0 });
      return { ok: true, value: { ...found, parts } };
    },
    async readParts(query) {
      await face();
      meta.onReadParts?.(query);
      return pageOf(lists.get(query.list) ?? [], query.from);
    },
    async openWriter() {
      await face();
      const writer = nextWriter++;
      meta.writers.set(writer, undefined);
      return { writer, ttlMs: meta.ttlMs, readEpoch: meta.readEpoch, view: meta.view };
    },
    async renewWriter({ writer, marks, revision }) {
      await face();
      if (meta.renewFailure !== undefined) throw meta.renewFailure;
      if (!meta.writers.has(writer)) throw new Failure('fenced', 'the lease has ended');
      meta.writers.set(writer, marks);
      const renewed = { readEpoch: meta.readEpoch };
      return revision === meta.view.revision ? renewed : { ...renewed, view: meta.view };
    },
    async closeWriter({ writer }) {
      await face();
      meta.writers.delete(writer);
      meta.closed.push(writer);
      return null;
    },
    async reportReplicas({ reports }) {
      await face();
      meta.reports.push(...reports);
      return null;
    },
    getBucket: (): Promise<Answer<Bucket>> => Promise.resolve({ ok: true, value: BUCKET }),
    createBucket: refuse,
    deleteBucket: refuse,
    listBuckets: refuse,
    bucketUsage: refuse,
    copyObject: refuse,
    deleteObject: refuse,
    deleteObjects: refuse,
    listObjects: refuse,
    createUpload: refuse,
    getUpload: refuse,
    putPart: refuse,
    listParts: refuse,
    listUploads: refuse,
    completeUpload: refuse,
    abortUpload: refuse,
    registerNode: refuse,
    heartbeat: refuse,
    status: refuse,
    setVersioning: refuse,
    listVersions: refuse,
    setObjectTags: refuse,
    setObjectLock: refuse,
    setBucketConfig: refuse,
    getBucketConfig: refuse,
    getBucketSettings: refuse,
    leaseEvents: refuse,
    readEvents: refuse,
    settleEvents: refuse,
    eventStatus: refuse,
    setReplication: refuse,
    setObjectExtras: refuse,
    findAccount: refuse,
    renameObject: refuse,
    appendObject: refuse,
  };
  return meta;
}

function recordOf(size: number): ObjectRecord {
  return {
    version: '0'.repeat(32),
    size,
    etag: 'e',
    modifiedMs: 0,
    owner: 'o',
    data: { kind: 'none' },
    system: {},
    user: {},
  };
}

/** A view of `ids` with every group on three of them in turn. */
export function viewOf(
  ids: readonly string[],
  options: { revision?: number; epoch?: number; groups?: number } = {},
): ClusterView {
  const groups = options.groups ?? 8;
  const assignment = Buffer.alloc(groups * REPLICAS * 2);
  for (let slot = 0; slot < groups * REPLICAS; slot++) {
    const group = Math.floor(slot / REPLICAS);
    assignment.writeUInt16LE((group + (slot % REPLICAS)) % ids.length, slot * 2);
  }
  const zoned = ids.map((id, index) => ({ id, zone: `z${index}` }));
  return {
    clusterId: 'c',
    revision: options.revision ?? 1,
    layout: {
      epoch: options.epoch ?? 1,
      groups,
      nodes: zoned.map((node) => ({ ...node, weight: 1 })),
      assignment,
    },
    previous: [],
    nodes: zoned.map((node) => ({
      ...node,
      address: `${node.id}:1`,
      state: 'up' as const,
      full: false,
      capacityBytes: 1,
      freeBytes: 1,
    })),
  };
}
