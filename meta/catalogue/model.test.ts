/**
 * The catalogue held against a naive model: a Map per bucket, no blobs, no counts, no rows. Random
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
  type Refusal,
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
const key = fc.constantFrom(...KEYS);
/** Symbolic: `same` is the ETag that the key has at the time. */
const condition = fc.option(
  fc.constantFrom('new' as const, 'any' as const, 'same' as const, 'other' as const),
  { nil: undefined, freq: 2 },
);
const uploadIndex = fc.nat(5);

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
      keys: fc.array(key, { maxLength: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('createUpload' as const), bucket, key }) },
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
}
interface ModelUpload {
  bucket: string;
  /** Tells a bucket from the next one of its name. */
  life: number;
  key: string;
  uploadId: string;
  parts: Map<number, { size: number; etag: string }>;
  state: 'open' | 'done' | 'gone';
  result?: { etag: string; size: number };
}
interface ModelBucket {
  life: number;
  objects: Map<string, ModelObject>;
}

class Model {
  readonly buckets = new Map<string, ModelBucket>();
  readonly uploads: ModelUpload[] = [];
  lives = 0;

  resolve(name: string, key: string, symbol: string | undefined): WriteCondition | undefined {
    const current = this.buckets.get(name)?.objects.get(key);
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

  /** Puts an object, or tells why not. */
  write(name: string, key: string, object: ModelObject, wanted: WriteCondition | undefined) {
    const found = this.buckets.get(name);
    if (found === undefined) return 'NoSuchBucket';
    const refused = this.judge(found.objects.get(key), wanted);
    if (refused === undefined) found.objects.set(key, object);
    return refused;
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
    wanted: WriteCondition | undefined,
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
    const refused = this.write(upload.bucket, upload.key, { size, etag, user: {} }, wanted);
    if (refused === undefined) {
      upload.state = 'done';
      upload.result = { etag, size };
    }
    return refused;
  }
}

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
        model.buckets.set(step.bucket, { life: model.lives++, objects: new Map() });
      }
      return;
    }
    case 'deleteBucket': {
      const found = model.buckets.get(step.bucket);
      const expected =
        found === undefined
          ? 'NoSuchBucket'
          : found.objects.size > 0
            ? 'BucketNotEmpty'
            : undefined;
      assert.equal(outcome(await catalogue.deleteBucket({ bucket: step.bucket })), expected);
      if (expected === undefined) model.buckets.delete(step.bucket);
      return;
    }
    case 'put': {
      const { bucket: name, key: at, size } = step;
      const wanted = model.resolve(name, at, step.condition);
      const object = w.object(size, { user: { n: String(w.clock.ms) } });
      const base = { writer: WRITER, bucket: name, key: at, object, missing: [] };
      const answer = await catalogue.putObject(
        wanted === undefined ? base : { ...base, condition: wanted },
      );
      const { etag, user } = object;
      assert.equal(outcome(answer), model.write(name, at, { size, etag, user }, wanted));
      return;
    }
    case 'copy':
      return runCopy(w, model, step);
    case 'delete': {
      const { bucket: name, key: at } = step;
      const wanted = model.resolve(name, at, step.condition);
      const found = model.buckets.get(name);
      const existed = found?.objects.has(at) ?? false;
      const refused =
        found === undefined ? 'NoSuchBucket' : model.judge(found.objects.get(at), wanted);
      const base = { bucket: name, key: at };
      const answer = await catalogue.deleteObject(
        wanted === undefined ? base : { ...base, condition: wanted },
      );
      assert.equal(outcome(answer), refused);
      if (answer.ok) assert.deepEqual(answer.value, { existed });
      if (refused === undefined) found?.objects.delete(at);
      return;
    }
    case 'deleteMany': {
      const found = model.buckets.get(step.bucket);
      const keys = step.keys.map((at) => ({ key: at }));
      const answer = await catalogue.deleteObjects({ bucket: step.bucket, keys });
      assert.equal(outcome(answer), found === undefined ? 'NoSuchBucket' : undefined);
      if (!answer.ok || found === undefined) return;
      const expected = step.keys.map((at) => ({
        ok: true,
        value: { existed: found.objects.delete(at) },
      }));
      assert.deepEqual(answer.value, expected);
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
  const source = model.buckets.get(step.from)?.objects.get(step.fromKey);
  const read = await w.catalogue.getObject({ bucket: step.from, key: step.fromKey });
  assert.equal(read.ok, source !== undefined);
  const wanted = model.resolve(step.bucket, step.key, step.condition);
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
    assert.equal(outcome(answer), model.write(step.bucket, step.key, object, wanted));
  }
}

type UploadCommand = Extract<
  Command,
  { do: 'createUpload' | 'putPart' | 'sharePart' | 'complete' | 'abort' }
>;

async function runUpload(w: World, model: Model, step: UploadCommand): Promise<void> {
  const { catalogue } = w;
  if (step.do === 'createUpload') {
    const { bucket: name, key: at } = step;
    const answer = await catalogue.createUpload({
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
    const upload = { bucket: name, life: found.life, key: at, uploadId, parts: new Map() };
    model.uploads.push({ ...upload, state: 'open' });
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
      const wanted = model.resolve(upload.bucket, upload.key, step.condition);
      const answer = await catalogue.completeUpload({
        ...name,
        parts,
        ...(wanted === undefined ? {} : { condition: wanted }),
      });
      const etag = answer.ok ? answer.value.etag : 'refused';
      assert.equal(outcome(answer), model.complete(upload, parts, etag, wanted));
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
    const expected = [...held.objects].sort(([left], [right]) =>
      Buffer.compare(Buffer.from(left), Buffer.from(right)),
    );
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
    const bytes = expected.reduce((sum, [, object]) => sum + object.size, 0);
    const usage = value(await w.catalogue.bucketUsage({ bucket: name }));
    assert.deepEqual(usage, { objects: expected.length, bytes });
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
      for (const [name, { objects }] of model.buckets) {
        const keys = [...objects.keys()].map((at) => ({ key: at }));
        value(await w.catalogue.deleteObjects({ bucket: name, keys }));
        value(await w.catalogue.deleteBucket({ bucket: name }));
      }
      w.clock.ms += COMPLETED_KEEP_MS + 5000 * steps.length;
      await drainGarbage(w.catalogue);
      await checkNothingLeft(w.store);
      for (const kind of ['o', 'u', 'p', 'c', 'b', 'm', 'U']) {
        assert.deepEqual(await rowsOf(w.store, kind), [], `no row of kind ${kind}`);
      }
    }),
    { numRuns: 150 },
  );
});
