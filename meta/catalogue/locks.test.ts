/**
 * Object lock held against a naive model: whatever is asked for in whatever order, a version that is
 * locked by the model's rules stays, and one that is not can go.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Answer,
  OBJECT_LOCK_CONFIG,
  type ObjectLock,
  type ObjectLockConfiguration,
  PART_BYTES_MIN,
  type Refusal,
  type VersionPage,
} from '../protocol.ts';
import { changedLock, isLocked, retentionEnd } from './locks.ts';
import {
  checkInvariants,
  createWorld,
  drainGarbage,
  freshPart,
  OWNER,
  refusal,
  value,
  type World,
  WRITER,
} from './test-support.ts';

const DAY_MS = 86_400_000;
const BUCKET = 'b';
const at = { bucket: BUCKET, key: 'a' };

async function lockedWorld(configuration: ObjectLockConfiguration = {}): Promise<World> {
  const w = await createWorld();
  const configs = { [OBJECT_LOCK_CONFIG]: JSON.stringify(configuration) };
  const bucket = { name: BUCKET, owner: OWNER, region: 'r' };
  value(await w.catalogue.createBucket({ ...bucket, versioning: 'Enabled', configs }));
  return w;
}

async function put(w: World, lock?: ObjectLock, bucket = BUCKET): Promise<string> {
  const object = w.object(10, lock === undefined ? {} : { lock });
  const command = { writer: WRITER, bucket, key: 'a', object, missing: [] };
  return value(await w.catalogue.putObject(command)).versionId ?? '';
}

async function lockOf(w: World, versionId?: string): Promise<ObjectLock | undefined> {
  return value(await w.catalogue.getObject({ ...at, versionId })).object.lock;
}

/* ------------------------------------------------------------------ single rules */

test('a bucket with object lock keeps its versioning and its lock', async () => {
  const w = await lockedWorld();
  const suspend = { bucket: BUCKET, versioning: 'Suspended' as const };
  assert.equal(refusal(await w.catalogue.setVersioning(suspend)), 'InvalidBucketState');
  value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Enabled' }));
  const removal = { bucket: BUCKET, name: OBJECT_LOCK_CONFIG };
  assert.equal(refusal(await w.catalogue.setBucketConfig(removal)), 'InvalidBucketState');
});

test('object lock comes to a bucket with versioning only, and versions before it can get locks', async () => {
  const w = await createWorld();
  const configs = { [OBJECT_LOCK_CONFIG]: '{}' };
  const creation = { name: BUCKET, owner: OWNER, region: 'r' };
  assert.equal(
    refusal(await w.catalogue.createBucket({ ...creation, configs })),
    'InvalidBucketState',
  );
  value(await w.catalogue.createBucket(creation));
  const enable = { bucket: BUCKET, name: OBJECT_LOCK_CONFIG, value: '{}' };
  const hold = { ...at, legalHold: true };
  await put(w);
  assert.equal(refusal(await w.catalogue.setBucketConfig(enable)), 'InvalidBucketState');
  value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Suspended' }));
  assert.equal(refusal(await w.catalogue.setBucketConfig(enable)), 'InvalidBucketState');
  value(await w.catalogue.setVersioning({ bucket: BUCKET, versioning: 'Enabled' }));
  assert.equal(refusal(await w.catalogue.setObjectLock(hold)), 'InvalidRequest');
  value(await w.catalogue.setBucketConfig(enable));
  assert.deepEqual(value(await w.catalogue.setObjectLock(hold)), { versionId: 'null' });
  await put(w);
  const oldest = { ...at, versionId: 'null', bypassGovernance: true };
  assert.equal(refusal(await w.catalogue.deleteObject(oldest)), 'AccessDenied');
});

test('a bucket without object lock takes no locks', async () => {
  const w = await createWorld();
  value(await w.catalogue.createBucket({ name: BUCKET, owner: OWNER, region: 'r' }));
  const lock: ObjectLock = { legalHold: true };
  const object = w.object(10, { lock });
  const command = { writer: WRITER, ...at, object, missing: [] };
  assert.equal(refusal(await w.catalogue.putObject(command)), 'InvalidRequest');
  const upload = { ...at, owner: OWNER, system: {}, user: {}, lock };
  assert.equal(refusal(await w.catalogue.createUpload(upload)), 'InvalidRequest');
  await put(w);
  const { version } = value(await w.catalogue.getObject(at)).object;
  const copy = { writer: WRITER, source: { ...at, version }, ...at, owner: OWNER };
  assert.equal(
    refusal(await w.catalogue.copyObject({ ...copy, extras: { lock } })),
    'InvalidRequest',
  );
});

test('puts, copies and uploads get the default retention unless they bring one; markers do not', async () => {
  const retention = { mode: 'GOVERNANCE' as const, period: { days: 3 } };
  const w = await lockedWorld({ retention });
  const standard = { mode: 'GOVERNANCE', untilMs: w.clock.ms + 3 * DAY_MS };
  const first = await put(w);
  assert.deepEqual(await lockOf(w, first), standard);
  const held = await put(w, { legalHold: true });
  assert.deepEqual(await lockOf(w, held), { ...standard, legalHold: true });
  const own: ObjectLock = { mode: 'COMPLIANCE', untilMs: w.clock.ms + DAY_MS };
  assert.deepEqual(await lockOf(w, await put(w, own)), own);
  const { version } = value(await w.catalogue.getObject(at)).object;
  const copy = { writer: WRITER, source: { ...at, version }, ...at, owner: OWNER };
  value(await w.catalogue.copyObject(copy));
  assert.deepEqual(await lockOf(w), standard, 'the lock of the source is not copied');
  const start = { ...at, owner: OWNER, system: {}, user: {}, lock: { legalHold: false } };
  const upload = value(await w.catalogue.createUpload(start));
  const part = freshPart(w, upload, 1, 7);
  value(await w.catalogue.putPart(part));
  w.clock.ms += 5000;
  const parts = [{ number: 1, etag: part.etag }];
  value(await w.catalogue.completeUpload({ ...at, uploadId: upload.uploadId, parts }));
  const untilMs = w.clock.ms + 3 * DAY_MS;
  assert.deepEqual(await lockOf(w), { mode: 'GOVERNANCE', untilMs, legalHold: false });
  const marker = value(await w.catalogue.deleteObject(at));
  const gone = await w.catalogue.deleteObject({ ...at, versionId: marker.versionId });
  assert.equal(value(gone).marker, true);
});

test('a year of retention ends on the same day of the year', () => {
  const from = Date.UTC(2024, 1, 29, 12);
  assert.equal(retentionEnd({ years: 1 }, from), Date.UTC(2025, 1, 28, 12));
  assert.equal(retentionEnd({ years: 4 }, from), Date.UTC(2028, 1, 29, 12));
  assert.equal(retentionEnd({ days: 366 }, from), Date.UTC(2025, 2, 1, 12));
});

test('a lock holds until its very end', () => {
  const lock: ObjectLock = { mode: 'COMPLIANCE', untilMs: 1000 };
  assert.equal(isLocked({ lock }, 999, true), true);
  assert.equal(isLocked({ lock }, 1000, false), false);
  const past = changedLock({}, { retention: { mode: 'GOVERNANCE', untilMs: 1000 } }, 1000);
  assert.equal(refusal(past), 'InvalidArgument');
});

test('a version that was locked while its deletion was under way stays', async () => {
  const w = await lockedWorld();
  const versionId = await put(w);
  const lock = w.catalogue.setObjectLock({ ...at, versionId, legalHold: true });
  const deletion = w.another(2).deleteObject({ ...at, versionId });
  const [locked, deleted] = await Promise.all([lock, deletion]);
  // In one order or the other, but never both.
  assert.notEqual(locked.ok, deleted.ok);
});

/* ------------------------------------------------------------------ any sequence */

const KEYS = ['a', 'b'] as const;
const key = fc.constantFrom(...KEYS);
const which = fc.nat(3);
const mode = fc.constantFrom('GOVERNANCE' as const, 'COMPLIANCE' as const);
/** Minutes from now. */
const minutes = fc.integer({ min: -2, max: 20 });
const lock = fc.record({
  retention: fc.option(fc.record({ mode, minutes: fc.integer({ min: 1, max: 20 }) }), {
    nil: undefined,
  }),
  legalHold: fc.option(fc.boolean(), { nil: undefined }),
});
const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('put' as const), key, lock }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('copy' as const), key, from: key, lock }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('upload' as const), key, lock }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('deleteVersion' as const),
      key,
      which,
      bypass: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('deleteMany' as const),
      places: fc.array(fc.record({ key, which }), { maxLength: 5 }),
      bypass: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('retain' as const),
      key,
      which,
      mode: fc.option(mode, { nil: undefined }),
      minutes,
      bypass: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('hold' as const), key, which, on: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('configure' as const),
      retention: fc.option(fc.record({ mode, days: fc.integer({ min: 1, max: 2 }) }), {
        nil: undefined,
      }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('suspend' as const, 'unlock' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('drop' as const, 'clean' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      minutes: fc.constantFrom(1, 5, 15, 3000),
    }),
  },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

interface Kept {
  id: string;
  marker: boolean;
  governedUntil: number;
  compliantUntil: number;
  hold: boolean;
}

const MINUTE_MS = 60_000;
const outcome = (answer: Answer<unknown>) => (answer.ok ? undefined : answer.refusal);

/** The naive rules: when what was promised last ends, by mode. */
class Model {
  readonly keys = new Map<string, Kept[]>(KEYS.map((name) => [name, []]));
  standard: { mode: 'GOVERNANCE' | 'COMPLIANCE'; days: number } | undefined;
  readonly w: World;

  constructor(w: World) {
    this.w = w;
  }

  versions(name: string): Kept[] {
    return this.keys.get(name) ?? [];
  }

  pick(name: string, place: number): Kept | undefined {
    return this.versions(name)[place];
  }

  locked({ hold, governedUntil, compliantUntil }: Kept, bypass: boolean): boolean {
    const now = this.w.clock.ms;
    return hold || compliantUntil > now || (governedUntil > now && !bypass);
  }

  add(name: string, id: string, asked: ObjectLock | undefined): void {
    const now = this.w.clock.ms;
    const chosen = asked?.mode ?? (this.standard === undefined ? undefined : this.standard.mode);
    const until = asked?.untilMs ?? now + (this.standard?.days ?? 0) * DAY_MS;
    this.versions(name).unshift({
      id,
      marker: false,
      governedUntil: chosen === 'GOVERNANCE' ? until : 0,
      compliantUntil: chosen === 'COMPLIANCE' ? until : 0,
      hold: asked?.legalHold === true,
    });
  }

  mark(name: string, id: string): void {
    const none = { governedUntil: 0, compliantUntil: 0, hold: false };
    this.versions(name).unshift({ id, marker: true, ...none });
  }

  remove(name: string, id: string): void {
    this.keys.set(
      name,
      this.versions(name).filter((version) => version.id !== id),
    );
  }

  /** What an attempt to delete one version must get. */
  judge(found: Kept | undefined, bypass: boolean): Refusal | undefined {
    return found !== undefined && this.locked(found, bypass) ? 'AccessDenied' : undefined;
  }
}

function asked(w: World, step: Extract<Command, { lock: unknown }>): ObjectLock | undefined {
  const { retention, legalHold } = step.lock;
  const made: ObjectLock = {};
  if (retention !== undefined) {
    made.mode = retention.mode;
    made.untilMs = w.clock.ms + retention.minutes * MINUTE_MS;
  }
  if (legalHold !== undefined) made.legalHold = legalHold;
  return retention === undefined && legalHold === undefined ? undefined : made;
}

async function create(w: World, model: Model, step: Extract<Command, { lock: unknown }>) {
  const { catalogue } = w;
  const place = { bucket: BUCKET, key: step.key };
  const wanted = asked(w, step);
  const extras = wanted === undefined ? {} : { lock: wanted };
  if (step.do === 'put') {
    const object = w.object(10, extras);
    const made = value(
      await catalogue.putObject({ writer: WRITER, ...place, object, missing: [] }),
    );
    model.add(step.key, made.versionId ?? '', wanted);
  } else if (step.do === 'copy') {
    const found = await catalogue.getObject({ bucket: BUCKET, key: step.from });
    if (!found.ok) return;
    const { version } = found.value.object;
    const source = { bucket: BUCKET, key: step.from, version };
    const copy = { writer: WRITER, source, ...place, owner: OWNER, extras };
    model.add(step.key, value(await catalogue.copyObject(copy)).versionId ?? '', wanted);
  } else {
    const start = { ...place, owner: OWNER, system: {}, user: {}, ...extras };
    const { uploadId } = value(await catalogue.createUpload(start));
    const part = freshPart(w, { ...place, uploadId }, 1, PART_BYTES_MIN);
    value(await catalogue.putPart(part));
    const parts = [{ number: 1, etag: part.etag }];
    const made = value(await catalogue.completeUpload({ ...place, uploadId, parts }));
    model.add(step.key, made.versionId ?? '', wanted);
  }
}

async function retain(w: World, model: Model, step: Extract<Command, { do: 'retain' }>) {
  const found = model.pick(step.key, step.which);
  const untilMs = w.clock.ms + step.minutes * MINUTE_MS;
  const retention = step.mode === undefined ? {} : { mode: step.mode, untilMs };
  const answer = await w.catalogue.setObjectLock({
    bucket: BUCKET,
    key: step.key,
    versionId: found?.id ?? 'ab'.repeat(16),
    retention,
    bypassGovernance: step.bypass,
  });
  if (found === undefined) return assert.equal(outcome(answer), 'NoSuchVersion');
  if (found.marker) return assert.equal(outcome(answer), 'MethodNotAllowed');
  if (step.mode !== undefined && untilMs <= w.clock.ms) {
    return assert.equal(outcome(answer), 'InvalidArgument');
  }
  const now = w.clock.ms;
  const { governedUntil, compliantUntil } = found;
  const less =
    (compliantUntil > now && (step.mode !== 'COMPLIANCE' || untilMs < compliantUntil)) ||
    (governedUntil > now &&
      !step.bypass &&
      (step.mode !== 'GOVERNANCE' || untilMs < governedUntil));
  assert.equal(outcome(answer), less ? 'AccessDenied' : undefined);
  if (less) return;
  found.governedUntil = step.mode === 'GOVERNANCE' ? untilMs : 0;
  found.compliantUntil = step.mode === 'COMPLIANCE' ? untilMs : 0;
}

async function remove(
  w: World,
  model: Model,
  step: Extract<Command, { do: 'delete' | 'deleteVersion' | 'deleteMany' }>,
) {
  const { catalogue } = w;
  if (step.do === 'delete') {
    const made = value(await catalogue.deleteObject({ bucket: BUCKET, key: step.key }));
    model.mark(step.key, made.versionId ?? '');
    return;
  }
  const places = step.do === 'deleteMany' ? step.places : [step];
  const { bypass } = step;
  const keys = places.map(({ key: name, which: place }) => {
    const versionId = model.pick(name, place)?.id ?? 'ab'.repeat(16);
    return { key: name, versionId, bypassGovernance: bypass };
  });
  const [only] = keys;
  const answers =
    step.do === 'deleteVersion' && only !== undefined
      ? [await catalogue.deleteObject({ bucket: BUCKET, ...only })]
      : value(await catalogue.deleteObjects({ bucket: BUCKET, keys }));
  for (const [index, { key: name, versionId }] of keys.entries()) {
    const found = model.versions(name).find(({ id }) => id === versionId);
    const answer = answers[index];
    assert.ok(answer);
    assert.equal(outcome(answer), model.judge(found, bypass));
    if (answer.ok) model.remove(name, versionId);
  }
}

async function runOne(w: World, model: Model, step: Command): Promise<void> {
  const { catalogue } = w;
  w.clock.ms += 1;
  switch (step.do) {
    case 'put':
    case 'copy':
    case 'upload':
      return create(w, model, step);
    case 'delete':
    case 'deleteVersion':
    case 'deleteMany':
      return remove(w, model, step);
    case 'retain':
      return retain(w, model, step);
    case 'hold': {
      const found = model.pick(step.key, step.which);
      const place = { bucket: BUCKET, key: step.key, versionId: found?.id ?? 'ab'.repeat(16) };
      const answer = await catalogue.setObjectLock({ ...place, legalHold: step.on });
      const refused = found === undefined ? 'NoSuchVersion' : 'MethodNotAllowed';
      const expected = found === undefined || found.marker ? refused : undefined;
      assert.equal(outcome(answer), expected);
      if (answer.ok && found !== undefined) found.hold = step.on;
      return;
    }
    case 'configure': {
      const { retention } = step;
      model.standard = retention;
      const configuration: ObjectLockConfiguration =
        retention === undefined
          ? {}
          : { retention: { mode: retention.mode, period: { days: retention.days } } };
      const text = JSON.stringify(configuration);
      const config = { bucket: BUCKET, name: OBJECT_LOCK_CONFIG, value: text };
      value(await catalogue.setBucketConfig(config));
      return;
    }
    case 'suspend': {
      const answer = await catalogue.setVersioning({ bucket: BUCKET, versioning: 'Suspended' });
      assert.equal(outcome(answer), 'InvalidBucketState');
      return;
    }
    case 'unlock': {
      const answer = await catalogue.setBucketConfig({ bucket: BUCKET, name: OBJECT_LOCK_CONFIG });
      assert.equal(outcome(answer), 'InvalidBucketState');
      return;
    }
    case 'drop': {
      const empty = [...model.keys.values()].every((versions) => versions.length === 0);
      if (empty) return;
      const answer = await catalogue.deleteBucket({ bucket: BUCKET });
      assert.equal(outcome(answer), 'BucketNotEmpty');
      return;
    }
    case 'clean':
      await drainGarbage(catalogue);
      return;
    case 'wait':
      w.clock.ms += step.minutes * MINUTE_MS;
  }
}

const linesOf = (page: VersionPage) =>
  page.versions.map(({ key: name, versionId, marker }) => [name, versionId, marker === true]);

test('whatever sequence of commands there is, locked versions stay and others can go', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 50, size: 'max' }), async (steps) => {
      const w = await lockedWorld();
      const model = new Model(w);
      for (const step of steps) {
        await runOne(w, model, step);
        const page = await w.catalogue.listVersions({ bucket: BUCKET, prefix: '', limit: 1000 });
        const kept = KEYS.flatMap((name) =>
          model.versions(name).map(({ id, marker }) => [name, id, marker]),
        );
        assert.deepEqual(linesOf(value(page)), kept);
      }
      await checkInvariants(w.store);
    }),
    { numRuns: 150 },
  );
});
