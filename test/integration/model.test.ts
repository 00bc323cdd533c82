/** Random sequences of requests: the server answers as a naive S3 in memory does, request by request. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type S3, S3ServiceException } from '@aws-sdk/client-s3';
import fc from 'fast-check';
import { seededBytes } from '../support/files.ts';
import { byBytes } from '../support/model.ts';
import { type NaiveCondition, NaiveS3, type Outcome } from '../support/naive-s3.ts';
import { bytesOf, etagOf, useServer } from '../support/server.ts';

const server = useServer();
/** The shortest part that may have another one behind it. */
const BIG = seededBytes('big', 5 * 1024 * 1024);
const BODIES = ['', 'x', 'some body', BIG].map((body) => Buffer.from(body));

const key = fc.constantFrom('a', 'a/b', 'b', 'ü', '..');
const body = fc
  .oneof(
    { weight: 16, arbitrary: fc.constantFrom(0, 1, 2) },
    { weight: 1, arbitrary: fc.constant(3) },
  )
  .map((index) => BODIES[index] ?? Buffer.alloc(0));
const note = fc.constantFrom('1', '2');
const upload = fc.nat(3);
const number = fc.integer({ min: 1, max: 2 });
/** Often right: the ETags of the few bodies there are. */
const etag = fc.constantFrom(...BODIES.map(etagOf));
const condition: fc.Arbitrary<NaiveCondition> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.constant({ ifNoneMatch: '*' as const }) },
  { weight: 1, arbitrary: etag.map((ifMatch) => ({ ifMatch })) },
);
const list = fc.record({
  prefix: fc.constantFrom('', 'a', 'a/', 'b'),
  delimiter: fc.constantFrom(undefined, '/'),
  after: fc.constantFrom(undefined, 'a', 'a/', 'a/b'),
  limit: fc.integer({ min: 1, max: 4 }),
});

/** A request that the model and the server can be asked. */
interface Command {
  name: string;
  model(model: NaiveS3): Outcome;
  real(real: Real): Promise<Outcome>;
  toString(): string;
}

const command = (
  name: string,
  args: unknown[],
  model: Command['model'],
  real: Command['real'],
): Command => ({
  name,
  model,
  real,
  toString: () =>
    `${name}(${args.map((one) => (Buffer.isBuffer(one) ? `${one.length} bytes` : JSON.stringify(one))).join(', ')})`,
});

const range = fc.option(fc.tuple(fc.nat(12), fc.nat(12)), { nil: undefined, freq: 2 });

const commands: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(key, body, note, condition).map((args) =>
      command(
        'put',
        args,
        (m) => m.put(...args),
        (r) => r.put(...args),
      ),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(key, range).map(([name, found]) => {
      const bytes: [number, number] | undefined = found && [found[0], found[0] + found[1]];
      return command(
        'get',
        [name, bytes],
        (m) => m.get(name, bytes),
        (r) => r.get(name, bytes),
      );
    }),
  },
  {
    weight: 2,
    arbitrary: key.map((name) =>
      command(
        'head',
        [name],
        (m) => m.head(name),
        (r) => r.head(name),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        key,
        condition.filter(({ ifNoneMatch }) => ifNoneMatch === undefined),
      )
      .map((args) =>
        command(
          'remove',
          args,
          (m) => m.remove(...args),
          (r) => r.remove(...args),
        ),
      ),
  },
  {
    weight: 1,
    arbitrary: fc.uniqueArray(key, { minLength: 1, maxLength: 3 }).map((keys) =>
      command(
        'removeAll',
        [keys],
        (m) => m.removeAll(keys),
        (r) => r.removeAll(keys),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(key, key, fc.option(note, { nil: undefined })).map((args) =>
      command(
        'copy',
        args,
        (m) => m.copy(...args),
        (r) => r.copy(...args),
      ),
    ),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(list, fc.constantFrom(1 as const, 2 as const)).map(([query, version]) =>
      command(
        'list',
        [query, version],
        (m) => m.list(query),
        (r) => r.list(query, version),
      ),
    ),
  },
  {
    weight: 3,
    arbitrary: key.map((name) =>
      command(
        'createUpload',
        [name],
        (m) => m.createUpload(name),
        (r) => r.createUpload(name),
      ),
    ),
  },
  {
    weight: 5,
    arbitrary: fc.tuple(upload, number, body).map((args) =>
      command(
        'uploadPart',
        args,
        (m) => m.uploadPart(...args),
        (r) => r.uploadPart(...args),
      ),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(upload, number, key).map((args) =>
      command(
        'copyPart',
        args,
        (m) => m.copyPart(...args),
        (r) => r.copyPart(...args),
      ),
    ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(upload, fc.array(fc.tuple(number, etag), { minLength: 1, maxLength: 2 }), condition)
      .map((args) =>
        command(
          'complete',
          args,
          (m) => m.complete(...args),
          (r) => r.complete(...args),
        ),
      ),
  },
  {
    weight: 5,
    arbitrary: fc.tuple(upload, condition).map(([at, given]) => {
      // With the parts that are there, so that it succeeds as often as not.
      let listed: [number, string][] = [];
      return command(
        'completeStored',
        [at, given],
        (m) => {
          listed = m.storedParts(at);
          return m.complete(at, listed, given);
        },
        (r) => r.complete(at, listed, given),
      );
    }),
  },
  {
    weight: 1,
    arbitrary: upload.map((at) =>
      command(
        'abort',
        [at],
        (m) => m.abort(at),
        (r) => r.abort(at),
      ),
    ),
  },
  {
    weight: 1,
    arbitrary: upload.map((at) =>
      command(
        'listParts',
        [at],
        (m) => m.listParts(at),
        (r) => r.listParts(at),
      ),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constant(
      command(
        'listUploads',
        [],
        (m) => m.listUploads(),
        (r) => r.listUploads(),
      ),
    ),
  },
);

/** The same requests to the server, with answers in the model's terms. */
class Real {
  readonly #s3: S3;
  readonly #Bucket: string;
  readonly #uploads: { Key: string; UploadId: string }[] = [];

  constructor(s3: S3, Bucket: string) {
    this.#s3 = s3;
    this.#Bucket = Bucket;
  }

  #target(Key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#Bucket, Key };
  }

  #upload(at: number): { Bucket: string; Key: string; UploadId: string } {
    const { Key, UploadId } = this.#uploads[at] ?? { Key: 'a', UploadId: '0'.repeat(32) };
    return { Bucket: this.#Bucket, Key, UploadId };
  }

  async #outcome(request: () => Promise<Outcome>): Promise<Outcome> {
    try {
      return await request();
    } catch (error) {
      if (error instanceof S3ServiceException) return { error: error.name };
      throw error;
    }
  }

  put(Key: string, Body: Buffer, value: string, given: NaiveCondition): Promise<Outcome> {
    return this.#outcome(async () => {
      const Metadata = { note: value };
      const put = { ...this.#target(Key), Body, Metadata, ...headersOf(given) };
      return { etag: (await this.#s3.putObject(put)).ETag };
    });
  }

  get(Key: string, bytes: [number, number] | undefined): Promise<Outcome> {
    return this.#outcome(async () => {
      const Range = bytes && `bytes=${bytes[0]}-${bytes[1]}`;
      const answer = await this.#s3.getObject({ ...this.#target(Key), Range });
      const md5 = createHash('md5').update(await bytesOf(answer));
      return {
        etag: answer.ETag,
        metadata: answer.Metadata,
        md5: `"${md5.digest('hex')}"`,
        status: answer.$metadata.httpStatusCode,
      };
    });
  }

  head(Key: string): Promise<Outcome> {
    return this.#outcome(async () => {
      const answer = await this.#s3.headObject(this.#target(Key));
      return { etag: answer.ETag, metadata: answer.Metadata, size: answer.ContentLength };
    });
  }

  remove(Key: string, given: NaiveCondition): Promise<Outcome> {
    return this.#outcome(async () => {
      await this.#s3.deleteObject({ ...this.#target(Key), ...headersOf(given) });
      return {};
    });
  }

  removeAll(keys: readonly string[]): Promise<Outcome> {
    return this.#outcome(async () => {
      const Delete = { Objects: keys.map((Key) => ({ Key })) };
      const answer = await this.#s3.deleteObjects({ Bucket: this.#Bucket, Delete });
      assert.equal(answer.Errors, undefined);
      return { deleted: answer.Deleted?.map(({ Key }) => Key) };
    });
  }

  copy(from: string, to: string, value: string | undefined): Promise<Outcome> {
    return this.#outcome(async () => {
      const CopySource = `${this.#Bucket}/${encodeURIComponent(from)}`;
      const metadata =
        value === undefined
          ? {}
          : { MetadataDirective: 'REPLACE' as const, Metadata: { note: value } };
      const copy = { ...this.#target(to), CopySource, ...metadata };
      return { etag: (await this.#s3.copyObject(copy)).CopyObjectResult?.ETag };
    });
  }

  list(
    query: {
      prefix: string;
      delimiter: string | undefined;
      after: string | undefined;
      limit: number;
    },
    version: 1 | 2,
  ): Promise<Outcome> {
    return this.#outcome(async () => {
      const { prefix: Prefix, delimiter: Delimiter, limit: MaxKeys, after } = query;
      const common = { Bucket: this.#Bucket, Prefix, Delimiter, MaxKeys };
      const answer =
        version === 1
          ? await this.#s3.listObjects({ ...common, Marker: after })
          : await this.#s3.listObjectsV2({ ...common, StartAfter: after });
      return {
        entries: (answer.Contents ?? []).map(({ Key, ETag, Size }) => [Key, ETag, Size]),
        prefixes: (answer.CommonPrefixes ?? []).map(({ Prefix: name }) => name),
        truncated: answer.IsTruncated,
      };
    });
  }

  createUpload(Key: string): Promise<Outcome> {
    return this.#outcome(async () => {
      const { UploadId = '' } = await this.#s3.createMultipartUpload(this.#target(Key));
      this.#uploads.push({ Key, UploadId });
      return {};
    });
  }

  uploadPart(at: number, PartNumber: number, Body: Buffer): Promise<Outcome> {
    return this.#outcome(async () => {
      const part = { ...this.#upload(at), PartNumber, Body };
      return { etag: (await this.#s3.uploadPart(part)).ETag };
    });
  }

  copyPart(at: number, PartNumber: number, from: string): Promise<Outcome> {
    return this.#outcome(async () => {
      const CopySource = `${this.#Bucket}/${encodeURIComponent(from)}`;
      const part = { ...this.#upload(at), PartNumber, CopySource };
      return { etag: (await this.#s3.uploadPartCopy(part)).CopyPartResult?.ETag };
    });
  }

  listParts(at: number): Promise<Outcome> {
    return this.#outcome(async () => {
      const { Parts = [] } = await this.#s3.listParts(this.#upload(at));
      return { parts: Parts.map(({ PartNumber, ETag, Size }) => [PartNumber, ETag, Size]) };
    });
  }

  listUploads(): Promise<Outcome> {
    return this.#outcome(async () => {
      const { Uploads = [] } = await this.#s3.listMultipartUploads({ Bucket: this.#Bucket });
      return { keys: Uploads.map(({ Key = '' }) => Key).sort(byBytes) };
    });
  }

  abort(at: number): Promise<Outcome> {
    return this.#outcome(async () => {
      await this.#s3.abortMultipartUpload(this.#upload(at));
      return {};
    });
  }

  complete(
    at: number,
    listed: readonly [number, string][],
    given: NaiveCondition,
  ): Promise<Outcome> {
    return this.#outcome(async () => {
      const Parts = listed.map(([PartNumber, ETag]) => ({ PartNumber, ETag }));
      const complete = { ...this.#upload(at), MultipartUpload: { Parts }, ...headersOf(given) };
      return { etag: (await this.#s3.completeMultipartUpload(complete)).ETag };
    });
  }
}

function headersOf({ ifMatch, ifNoneMatch }: NaiveCondition): {
  IfMatch?: string;
  IfNoneMatch?: string;
} {
  if (ifMatch !== undefined) return { IfMatch: ifMatch };
  return ifNoneMatch === undefined ? {} : { IfNoneMatch: ifNoneMatch };
}

test('Any sequence of requests is answered as a naive S3 answers it', async (context) => {
  const outcomes = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(commands, { minLength: 20, maxLength: 40, size: 'max' }),
      async (sequence) => {
        const model = new NaiveS3();
        const real = new Real(server.s3, await server.bucket());
        for (const name of ['a', 'a/b', 'b']) {
          model.createUpload(name);
          await real.createUpload(name);
        }
        for (const [at, one] of sequence.entries()) {
          const expected = one.model(model);
          const actual = await one.real(real);
          assert.deepEqual(actual, expected, `request ${at}: ${one.toString()}`);
          const title = `${one.name}: ${typeof expected['error'] === 'string' ? expected['error'] : 'ok'}`;
          outcomes.set(title, (outcomes.get(title) ?? 0) + 1);
        }
      },
    ),
    {
      numRuns: Number(process.env['MODEL_RUNS'] ?? 40),
      ...(process.env['SEED'] === undefined ? {} : { seed: Number(process.env['SEED']) }),
    },
  );
  for (const [title, count] of [...outcomes].sort(([a], [b]) => byBytes(a, b))) {
    context.diagnostic(`${title}: ${count}`);
  }
});
