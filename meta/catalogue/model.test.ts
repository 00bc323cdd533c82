/**
 * The catalogue held against a naive model: a list of versions per key, no blobs, no counts, no rows. Random
 * sequences of commands must get the same answers from both, and the store must be sound after them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Answer,
  type CompleteUploadCommand,
  type ObjectRecord,
  PART_BYTES_MIN,
  type Deleted,
  type Refusal,
  type Tag,
  type Versioning,
  type WriteCondition,
} from '../protocol.ts';
import { COMPLETED_KEEP_MS } from './complete.ts';
import {
  checkInvariants,
  checkNothingLeft,
  createWorld,
  drainGarbage,
  freshPart,
  MIB,
  OWNER,
  rowsOf,
  value,
  WRITER,
  type World,
} from './test-support.ts';

const BUCKETS = ['one', 'two'] as const;
const LONG = '😀'.repeat(256);
const KEYS = ['a', 'a/b', '/', '..', 'é', '😀', '\uffff', '\u0001', '\u0000a', LONG];
const SIZES = [0, 10, 4096];
const PART_SIZES = [PART_BYTES_MIN, 6 * MIB, 7];

const bucket = fc.constantFrom(...BUCKETS);
/** Mostly few keys, so that they get many versions. */
const key = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('a', 'a/b') },
  { weight: 1, arbitrary: fc.constantFrom(...KEYS) },
);
/** Symbolic: `same` is the ETag that the key has at the time. */
const condition = fc.option(
  fc.constantFrom('new' as const, 'any' as const, 'same' as const, 'other' as const),
  { nil: undefined, freq: 2 },
);
const uploadIndex = fc.nat(5);
/** The place of a version among those of its key; `null`: the one of that name; `none`: no version. */
const which = fc.oneof(fc.nat(3), fc.constantFrom('null' as const, 'none' as const));
type Which = number | 'null' | 'none';
const tags = fc.constantFrom<Tag[]>(
  [],
  [{ key: 'a', value: '' }],
  [
    { key: 'b', value: 'c' },
    { key: 'a', value: 'd' },
  ],
);

const command = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('createBucket' as const), bucket }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('deleteBucket' as const), bucket }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      bucket,
      key,
      size: fc.constantFrom(...SIZES),
      condition,
      tags,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('setVersioning' as const),
      bucket,
      versioning: fc.constantFrom<Versioning>('Enabled', 'Enabled', 'Suspended'),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('deleteVersion' as const),
      bucket,
      key,
      which,
      condition,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('tag' as const),
      bucket,
      key,
      which: fc.option(which, { nil: undefined }),
      tags,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('copy' as const),
      bucket,
      key,
      from: bucket,
      fromKey: key,
      which: fc.option(which, { nil: undefined }),
      condition,
      replace: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('delete' as const), bucket, key, condition }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('deleteMany' as const),
      bucket,
      keys: fc.array(fc.record({ key, which: fc.option(which, { nil: undefined }) }), {
        maxLength: 6,
      }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('createUpload' as const), bucket, key, tags }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('putPart' as const),
      upload: uploadIndex,
      number: fc.integer({ min: 1, max: 4 }),
      size: fc.constantFrom(...PART_SIZES),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('sharePart' as const),
      upload: uploadIndex,
      number: fc.integer({ min: 1, max: 4 }),
      bucket,
      key,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('complete' as const),
      upload: uploadIndex,
      /** Numbers to name; `all`: those that there are. */
      numbers: fc.option(fc.subarray([1, 2, 3, 4], { minLength: 1 }), {
        nil: 'all' as const,
        freq: 1,
      }),
      condition,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), upload: uploadIndex }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('clean' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stepBack' as const) }) },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

interface ModelObject {
  size: number;
  etag: string;
  user: Record<string, string>;
  tags?: Tag[] | undefined;
  marker?: true | undefined;
}
interface ModelVersion extends ModelObject {
  /** As S3 shows it. */
  id: string;
}
interface ModelUpload {
  bucket: string;
  /** Tells a bucket from the next one of its name. */
  life: number;
  key: string;
  tags: Tag[];
  uploadId: string;
  parts: Map<number, { size: number; etag: string }>;
  state: 'open' | 'done' | 'gone';
  result?: { etag: string; size: number };
}
interface ModelBucket {
  life: number;
  versioning?: Versioning;
  /** Newest first, delete markers among them; no key without a version. */
  keys: Map<string, ModelVersion[]>;
}
const MARKER: ModelObject = { size: 0, etag: '', user: {}, marker: true };

class Model {
  readonly buckets = new Map<string, ModelBucket>();
  readonly uploads: ModelUpload[] = [];
  lives = 0;

  versions(name: string, key: string): ModelVersion[] {
    return this.buckets.get(name)?.keys.get(key) ?? [];
  }

  /** The current version, unless it is a delete marker. */
  current(name: string, key: string): ModelVersion | undefined {
    const [first] = this.versions(name, key);
    return first?.marker === true ? undefined : first;
  }

  /** The id that a place stands for, and the version if there is one. */
  pick(name: string, key: string, at: Which): { id: string; version: ModelVersion | undefined } {
    const versions = this.versions(name, key);
    const id = typeof at !== 'number' ? at : (versions[at]?.id ?? 'ab'.repeat(16));
    return { id, version: versions.find((version) => version.id === id) };
  }

  resolve(
    current: ModelObject | undefined,
    symbol: string | undefined,
  ): WriteCondition | undefined {
    switch (symbol) {
      case 'new':
        return { ifNoneMatch: '*' };
      case 'any':
        return { ifMatch: '*' };
      case 'same':
        return { ifMatch: current?.etag ?? 'none' };
      case 'other':
        return { ifMatch: 'other' };
      default:
        return undefined;
    }
  }

  judge(current: ModelObject | undefined, wanted: WriteCondition | undefined): Refusal | undefined {
    if (wanted?.ifNoneMatch !== undefined && current !== undefined) return 'PreconditionFailed';
    if (wanted?.ifMatch === undefined) return undefined;
    if (current === undefined) return 'NoSuchKey';
    return ['*', current.etag].includes(wanted.ifMatch) ? undefined : 'PreconditionFailed';
  }

  /** Puts an object, or tells why not. `shown`: the version id that was answered. */
  write(
    name: string,
    key: string,
    object: ModelObject,
    { wanted, shown }: { wanted: WriteCondition | undefined; shown: string | undefined },
  ) {
    const found = this.buckets.get(name);
    if (found === undefined) return 'NoSuchBucket';
    const refused = this.judge(this.current(name, key), wanted);
    if (refused === undefined) this.add(found, key, object, shown);
    return refused;
  }

  add(found: ModelBucket, key: string, object: ModelObject, shown: string | undefined): void {
    const before = found.keys.get(key) ?? [];
    if (found.versioning === 'Enabled') {
      assert.match(shown ?? '', /^[0-9a-f]{32}$/);
      found.keys.set(key, [{ ...object, id: shown ?? '' }, ...before]);
    } else {
      assert.equal(shown, found.versioning === undefined ? undefined : 'null');
      const others = before.filter(({ id }) => id !== 'null');
      found.keys.set(key, [{ ...object, id: 'null' }, ...others]);
    }
  }

  remove(name: string, key: string, gone: string): void {
    const left = this.versions(name, key).filter(({ id }) => id !== gone);
    if (left.length > 0) this.buckets.get(name)?.keys.set(key, left);
    else this.buckets.get(name)?.keys.delete(key);
  }

  /** What a delete answers, with the id of the marker that was made left open. */
  delete(found: ModelBucket, name: string, key: string, shown: string | undefined): Deleted {
    const existed = this.current(name, key) !== undefined;
    if (found.versioning === undefined) {
      this.remove(name, key, 'null');
      return { existed };
    }
    this.add(found, key, MARKER, shown);
    return { existed, versionId: shown, marker: true };
  }

  deleteVersion(name: string, key: string, at: Which): Deleted {
    const { id, version } = this.pick(name, key, at);
    this.remove(name, key, id);
    const deleted: Deleted = { existed: version !== undefined, versionId: id };
    if (version?.marker === true) deleted.marker = true;
    return deleted;
  }

  upload(index: number): ModelUpload | undefined {
    return this.uploads.length === 0 ? undefined : this.uploads[index % this.uploads.length];
  }

  /** Why an operation on the upload is refused before it looks at anything else. */
  refuseUpload(upload: ModelUpload): Refusal | undefined {
    const found = this.buckets.get(upload.bucket);
    if (found === undefined) return 'NoSuchBucket';
    return found.life === upload.life && upload.state === 'open' ? undefined : 'NoSuchUpload';
  }

  complete(
    upload: ModelUpload,
    parts: CompleteUploadCommand['parts'],
    etag: string,
    answered: { wanted: WriteCondition | undefined; shown: string | undefined },
  ) {
    const found = this.buckets.get(upload.bucket);
    if (found === undefined) return 'NoSuchBucket';
    if (found.life !== upload.life || upload.state === 'gone') return 'NoSuchUpload';
    if (upload.state === 'done') return undefined;
    let size = 0;
    for (const { number, etag: partTag } of parts) {
      const part = upload.parts.get(number);
      if (part === undefined || part.etag !== partTag) return 'InvalidPart';
    }
    for (const [index, { number }] of parts.entries()) {
      const part = upload.parts.get(number);
      if ((part?.size ?? 0) < PART_BYTES_MIN && index < parts.length - 1) return 'EntityTooSmall';
      size += part?.size ?? 0;
    }
    const object = { size, etag, user: {}, tags: upload.tags };
    const refused = this.write(upload.bucket, upload.key, object, answered);
    if (refused === undefined) {
      upload.state = 'done';
      upload.result = { etag, size };
    }
    return refused;
  }
}

const shownBy = (answer: Answer<{ versionId?: string | undefined }>) =>
  answer.ok ? answer.value.versionId : undefined;
const outcome = (answer: Answer<unknown>) => (answer.ok ? undefined : answer.refusal);

async function runOne(w: World, model: Model, step: Command): Promise<void> {
  const { catalogue } = w;
  w.clock.ms += 1;
  switch (step.do) {
    case 'createBucket': {
      const answer = await catalogue.createBucket({ name: step.bucket, owner: OWNER, region: 'r' });
      const expected = model.buckets.has(step.bucket) ? 'BucketAlreadyOwnedByYou' : undefined;
      assert.equal(outcome(answer), expected);
      if (expected === undefined) {
        model.buckets.set(step.bucket, { life: model.lives++, keys: new Map() });
      }
      return;
    }
    case 'deleteBucket': {
      const found = model.buckets.get(step.bucket);
      const expected =
        found === undefined ? 'NoSuchBucket' : found.keys.size > 0 ? 'BucketNotEmpty' : undefined;
      assert.equal(outcome(await catalogue.deleteBucket({ bucket: step.bucket })), expected);
      if (expected === undefined) model.buckets.delete(step.bucket);
      return;
    }
    case 'put': {
      const { bucket: name, key: at, size, tags: given } = step;
      const wanted = model.resolve(model.current(name, at), step.condition);
      const object = w.object(size, { user: { n: String(w.clock.ms) }, tags: given });
      const base = { writer: WRITER, bucket: name, key: at, object, missing: [] };
      const answer = await catalogue.putObject(
        wanted === undefined ? base : { ...base, condition: wanted },
      );
      const { etag, user } = object;
      const answered = { wanted, shown: shownBy(answer) };
      const made = { size, etag, user, tags: given };
      assert.equal(outcome(answer), model.write(name, at, made, answered));
      return;
    }
    case 'copy':
      return runCopy(w, model, step);
    case 'delete': {
      const { bucket: name, key: at } = step;
      const current = model.current(name, at);
      const wanted = model.resolve(current, step.condition);
      const found = model.buckets.get(name);
      const refused = found === undefined ? 'NoSuchBucket' : model.judge(current, wanted);
      const base = { bucket: name, key: at };
      const answer = await catalogue.deleteObject(
        wanted === undefined ? base : { ...base, condition: wanted },
      );
      assert.equal(outcome(answer), refused);
      if (!answer.ok || found === undefined) return;
      assert.deepEqual(answer.value, model.delete(found, name, at, answer.value.versionId));
      return;
    }
    case 'setVersioning': {
      const { bucket: name, versioning } = step;
      const answer = await catalogue.setVersioning({ bucket: name, versioning });
      const found = model.buckets.get(name);
      assert.equal(outcome(answer), found === undefined ? 'NoSuchBucket' : undefined);
      if (found !== undefined) found.versioning = versioning;
      return;
    }
    case 'deleteVersion': {
      const { bucket: name, key: at } = step;
      const { id, version } = model.pick(name, at, step.which);
      const wanted = model.resolve(version, step.condition);
      const base = { bucket: name, key: at, versionId: id };
      const answer = await catalogue.deleteObject(
        wanted === undefined ? base : { ...base, condition: wanted },
      );
      const known = model.buckets.has(name);
      // What is gone is deleted, whatever the condition says of it.
      const refused = version === undefined ? undefined : model.judge(version, wanted);
      assert.equal(outcome(answer), known ? refused : 'NoSuchBucket');
      if (answer.ok) assert.deepEqual(answer.value, model.deleteVersion(name, at, step.which));
      return;
    }
    case 'tag': {
      const { bucket: name, key: at, tags: given } = step;
      const named = step.which === undefined ? undefined : model.pick(name, at, step.which);
      const version = named === undefined ? model.versions(name, at)[0] : named.version;
      const place = { bucket: name, key: at, versionId: named?.id };
      const answer = await catalogue.setObjectTags({ ...place, tags: given });
      assert.equal(outcome(answer), readRefusal(model, name, version, named !== undefined));
      if (answer.ok && version !== undefined) version.tags = given;
      return;
    }
    case 'deleteMany': {
      const found = model.buckets.get(step.bucket);
      const keys = step.keys.map(({ key: at, which: place }) => ({
        key: at,
        versionId: place === undefined ? undefined : model.pick(step.bucket, at, place).id,
      }));
      const answer = await catalogue.deleteObjects({ bucket: step.bucket, keys });
      assert.equal(outcome(answer), found === undefined ? 'NoSuchBucket' : undefined);
      if (!answer.ok || found === undefined) return;
      for (const [index, one] of answer.value.entries()) {
        const { key: at = '', versionId } = keys[index] ?? {};
        const shown = shownBy(one);
        if (versionId === undefined) {
          assert.deepEqual(value(one), model.delete(found, step.bucket, at, shown));
          continue;
        }
        // By id: what the places meant before the first of them was deleted.
        const version: ModelVersion | undefined = model
          .versions(step.bucket, at)
          .find(({ id }) => id === versionId);
        const { existed, marker } = value(one);
        assert.deepEqual([existed, marker], [version !== undefined, version?.marker]);
        model.remove(step.bucket, at, versionId);
      }
      return;
    }
    case 'clean': {
      await drainGarbage(catalogue);
      return;
    }
    case 'stepBack': {
      w.clock.ms -= 5000;
      return;
    }
    default:
      return runUpload(w, model, step);
  }
}

async function runCopy(w: World, model: Model, step: Extract<Command, { do: 'copy' }>) {
  const { from, fromKey } = step;
  const named = step.which === undefined ? undefined : model.pick(from, fromKey, step.which);
  const found = named === undefined ? model.versions(from, fromKey)[0] : named.version;
  const query = { bucket: from, key: fromKey, versionId: named?.id };
  const read = await w.catalogue.getObject(query);
  assert.equal(outcome(read), readRefusal(model, from, found, named !== undefined));
  const source = read.ok ? found : undefined;
  const wanted = model.resolve(model.current(step.bucket, step.key), step.condition);
  const user = { copied: String(w.clock.ms) };
  const version = read.ok ? read.value.object.version : 'ab'.repeat(16);
  const answer = await w.catalogue.copyObject({
    writer: WRITER,
    source: { bucket: step.from, key: step.fromKey, version },
    bucket: step.bucket,
    key: step.key,
    owner: OWNER,
    ...(wanted === undefined ? {} : { condition: wanted }),
    ...(step.replace ? { metadata: { system: {}, user } } : {}),
  });
  if (!model.buckets.has(step.bucket)) assert.equal(outcome(answer), 'NoSuchBucket');
  else if (source === undefined) assert.equal(outcome(answer), 'SourceChanged');
  else {
    const object = step.replace ? { ...source, user } : source;
    const answered = { wanted, shown: shownBy(answer) };
    assert.equal(outcome(answer), model.write(step.bucket, step.key, object, answered));
  }
}

/** Why a version cannot be read. */
function readRefusal(
  model: Model,
  name: string,
  version: ModelVersion | undefined,
  named: boolean,
): Refusal | undefined {
  if (!model.buckets.has(name)) return 'NoSuchBucket';
  if (version === undefined) return named ? 'NoSuchVersion' : 'NoSuchKey';
  if (version.marker !== true) return undefined;
  return named ? 'MethodNotAllowed' : 'NoSuchKey';
}

type UploadCommand = Extract<
  Command,
  { do: 'createUpload' | 'putPart' | 'sharePart' | 'complete' | 'abort' }
>;

async function runUpload(w: World, model: Model, step: UploadCommand): Promise<void> {
  const { catalogue } = w;
  if (step.do === 'createUpload') {
    const { bucket: name, key: at, tags: given } = step;
    const answer = await catalogue.createUpload({
      tags: given,
      bucket: name,
      key: at,
      owner: OWNER,
      system: {},
      user: {},
    });
    const found = model.buckets.get(name);
    assert.equal(outcome(answer), found === undefined ? 'NoSuchBucket' : undefined);
    if (!answer.ok || found === undefined) return;
    const { uploadId } = answer.value;
    const upload = { bucket: name, life: found.life, key: at, uploadId, tags: given };
    model.uploads.push({ ...upload, parts: new Map(), state: 'open' });
    return;
  }
  const upload = model.upload(step.upload);
  if (upload === undefined) return;
  const name = { bucket: upload.bucket, key: upload.key, uploadId: upload.uploadId };
  const refused = model.refuseUpload(upload);
  switch (step.do) {
    case 'putPart': {
      const part = freshPart(w, name, step.number, step.size);
      assert.equal(outcome(await catalogue.putPart(part)), refused);
      if (refused === undefined) {
        upload.parts.set(step.number, { size: part.size, etag: part.etag });
      }
      return;
    }
    case 'sharePart': {
      const source = await catalogue.getObject({ bucket: step.bucket, key: step.key });
      if (!source.ok || source.value.object.data.kind !== 'blob') return;
      const { data, etag, size } = source.value.object;
      const part = { ...name, writer: WRITER, number: step.number, size, etag, missing: [] };
      const shared = { ...part, data: { ...data, kind: 'reference' as const } };
      assert.equal(outcome(await catalogue.putPart(shared)), refused);
      if (refused === undefined) upload.parts.set(step.number, { size, etag });
      return;
    }
    case 'complete': {
      const numbers =
        step.numbers === 'all'
          ? [...upload.parts.keys()].sort((left, right) => left - right)
          : step.numbers;
      if (numbers.length === 0) return;
      const parts = numbers.map((number) => ({
        number,
        etag: upload.parts.get(number)?.etag ?? 'none',
      }));
      const current = model.current(upload.bucket, upload.key);
      const wanted = model.resolve(current, step.condition);
      const answer = await catalogue.completeUpload({
        ...name,
        parts,
        ...(wanted === undefined ? {} : { condition: wanted }),
      });
      const etag = answer.ok ? answer.value.etag : 'refused';
      const answered = { wanted, shown: shownBy(answer) };
      assert.equal(outcome(answer), model.complete(upload, parts, etag, answered));
      if (answer.ok) assert.deepEqual({ etag, size: answer.value.size }, upload.result);
      return;
    }
    case 'abort': {
      assert.equal(outcome(await catalogue.abortUpload(name)), refused);
      if (refused === undefined) upload.state = 'gone';
    }
  }
}

/** What the catalogue shows is what the model holds. */
async function compare(w: World, model: Model): Promise<void> {
  for (const name of BUCKETS) {
    const held = model.buckets.get(name);
    const listed = await w.catalogue.listObjects({ bucket: name, prefix: '', limit: 1000 });
    if (held === undefined) {
      assert.equal(outcome(listed), 'NoSuchBucket');
      continue;
    }
    const keys = [...held.keys].sort(([left], [right]) =>
      Buffer.compare(Buffer.from(left), Buffer.from(right)),
    );
    const expected = keys.flatMap(([at]) => {
      const object = model.current(name, at);
      return object === undefined ? [] : [[at, object] as const];
    });
    const page = value(listed);
    assert.deepEqual(
      page.objects.map((object) => [object.key, object.size, object.etag]),
      expected.map(([at, object]) => [at, object.size, object.etag]),
    );
    for (const [at, object] of expected) {
      const found = value(await w.catalogue.getObject({ bucket: name, key: at, withParts: true }));
      assert.deepEqual(found.object.user, object.user);
      assertReadable(found.object, found.parts);
    }
    await compareVersions(w, name, keys);
    const all = keys.flatMap(([, versions]) => versions);
    const bytes = all.reduce((sum, version) => sum + version.size, 0);
    const usage = value(await w.catalogue.bucketUsage({ bucket: name }));
    assert.deepEqual(usage, { objects: all.length, bytes });
    const uploads = value(await w.catalogue.listUploads({ bucket: name, prefix: '', limit: 1000 }));
    const open = model.uploads.filter(
      (upload) => upload.bucket === name && model.refuseUpload(upload) === undefined,
    );
    assert.deepEqual(
      uploads.uploads.map((upload) => upload.uploadId).sort(),
      open.map((upload) => upload.uploadId).sort(),
    );
    for (const upload of open) {
      const parts = value(await w.catalogue.listParts({ ...upload, after: 0, limit: 10 }));
      assert.deepEqual(
        parts.parts.map((part) => [part.number, part.size, part.etag]),
        [...upload.parts]
          .sort(([left], [right]) => left - right)
          .map(([number, part]) => [number, part.size, part.etag]),
      );
    }
  }
}

type Keys = readonly (readonly [string, ModelVersion[]])[];

/** Every version by its id, and all of them in pages. */
async function compareVersions(w: World, name: string, keys: Keys): Promise<void> {
  for (const [at, versions] of keys) {
    for (const { id, etag, user, marker, tags: given } of versions) {
      const answer = await w.catalogue.getObject({ bucket: name, key: at, versionId: id });
      assert.equal(outcome(answer), marker === true ? 'MethodNotAllowed' : undefined);
      if (!answer.ok) continue;
      const { object } = answer.value;
      assert.deepEqual([object.etag, object.user, object.tags ?? []], [etag, user, given ?? []]);
    }
  }
  for (const [delimiter, limit] of [
    [undefined, 1000],
    [undefined, 2],
    ['/', 1],
    ['/', 3],
  ] as const) {
    assert.deepEqual(await allVersions(w, name, delimiter, limit), naive(keys, delimiter));
  }
}

const line = (key: string, { id, size, etag, marker }: ModelVersion, latest: boolean) =>
  [key, id, size, etag, marker ?? false, latest].join('|');

function naive(keys: Keys, delimiter: string | undefined): string[] {
  const lines = new Set<string>();
  for (const [key, versions] of keys) {
    const end = delimiter === undefined ? -1 : key.indexOf(delimiter);
    if (end >= 0) lines.add(`${key.slice(0, end + 1)}|`);
    else versions.forEach((version, index) => lines.add(line(key, version, index === 0)));
  }
  return [...lines];
}

async function allVersions(
  w: World,
  bucketName: string,
  delimiter: string | undefined,
  limit: number,
): Promise<string[]> {
  const lines: string[] = [];
  let keyMarker: string | undefined;
  let versionIdMarker: string | undefined;
  for (;;) {
    const query = { bucket: bucketName, prefix: '', delimiter, keyMarker, versionIdMarker, limit };
    const page = value(await w.catalogue.listVersions(query));
    const prefixes = page.commonPrefixes.map((prefix) => [prefix, `${prefix}|`] as const);
    const versions = page.versions.map((version) => {
      const { key: at, versionId: id, latest } = version;
      return [at, line(at, { ...version, id, user: {} }, latest)] as const;
    });
    assert.ok(prefixes.length + versions.length <= limit);
    assert.ok(page.next === undefined || prefixes.length + versions.length > 0);
    // Keys and common prefixes are disjoint, so a stable sort by name puts them in their order.
    const all = [...prefixes, ...versions].sort(([left], [right]) =>
      Buffer.compare(Buffer.from(left), Buffer.from(right)),
    );
    lines.push(...all.map(([, text]) => text));
    if (page.next === undefined) return lines;
    keyMarker = page.next.key;
    versionIdMarker = page.next.versionId;
  }
}

function assertReadable(object: ObjectRecord, parts: { size: number }[] | undefined): void {
  if (object.data.kind !== 'parts') return;
  const size = (parts ?? []).reduce((sum, part) => sum + part.size, 0);
  assert.equal(size, object.size, 'the parts make up the object');
}

test('random sequences of commands get the answers of a naive model and leave a sound store', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 60, size: 'max' }), async (steps) => {
      const w = await createWorld();
      const model = new Model();
      for (const name of BUCKETS) await runOne(w, model, { do: 'createBucket', bucket: name });
      for (const step of steps) await runOne(w, model, step);
      await checkInvariants(w.store);
      await compare(w, model);
      w.clock.ms += COMPLETED_KEEP_MS + 5000 * steps.length;
      await drainGarbage(w.catalogue);
      await checkNothingLeft(w.store);
      await compare(w, model);
    }),
    { numRuns: 300 },
  );
});

test('when everything is deleted and the queue is dry, the store is as empty as at first', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 40, size: 'max' }), async (steps) => {
      const w = await createWorld();
      const model = new Model();
      for (const name of BUCKETS) await runOne(w, model, { do: 'createBucket', bucket: name });
      for (const step of steps) await runOne(w, model, step);
      for (const [name, held] of model.buckets) {
        const keys = [...held.keys].flatMap(([at, versions]) =>
          versions.map(({ id }) => ({ key: at, versionId: id })),
        );
        value(await w.catalogue.deleteObjects({ bucket: name, keys }));
        value(await w.catalogue.deleteBucket({ bucket: name }));
      }
      w.clock.ms += COMPLETED_KEEP_MS + 5000 * steps.length;
      await drainGarbage(w.catalogue);
      await checkNothingLeft(w.store);
      for (const kind of ['o', 'v', 's', 'u', 'p', 'c', 'b', 'm', 'U']) {
        assert.deepEqual(await rowsOf(w.store, kind), [], `no row of kind ${kind}`);
      }
    }),
    { numRuns: 150 },
  );
});

/** Little else than versions of two keys of one bucket: chains grow long and lose any of their links. */
const chainCommand = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      bucket: fc.constant('one' as const),
      key: fc.constantFrom('a', 'a/b'),
      size: fc.constantFrom(0, 10),
      condition: fc.constant(undefined),
      tags,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('setVersioning' as const),
      bucket: fc.constant('one' as const),
      versioning: fc.constantFrom<Versioning>('Enabled', 'Suspended'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('deleteMany' as const),
      bucket: fc.constant('one' as const),
      keys: fc.array(
        fc.record({
          key: fc.constantFrom('a', 'a/b'),
          which: fc.oneof(
            { weight: 4, arbitrary: fc.nat(3) },
            { weight: 1, arbitrary: fc.constantFrom('null' as const, undefined) },
          ),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
);

test('random sequences of commands on few keys leave every chain of versions whole', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(chainCommand, { maxLength: 40, size: 'max' }), async (steps) => {
      const w = await createWorld();
      const model = new Model();
      await runOne(w, model, { do: 'createBucket', bucket: 'one' });
      for (const step of steps) {
        await runOne(w, model, step);
        await checkInvariants(w.store);
      }
      await compare(w, model);
    }),
    { numRuns: 150 },
  );
});
