/** Replication to the buckets of a second cluster, over its S3 endpoint. */
import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { type ReplicationRule, S3 } from '@aws-sdk/client-s3';
import { systemClock } from '../../base/clock.ts';
import { resyncBucket } from '../../gateway/main.ts';
import { ENCRYPTION } from '../support/encryption.ts';
import {
  bytesOf,
  codeOf,
  digest,
  refusedWith,
  sameBytes,
  SERVER_KEYS,
  useInspectedServer,
  useServer,
} from '../support/server.ts';

const BOB = {
  displayName: 'bob',
  number: '222222222222',
  accessKey: 'ASHLBOBBOBBOBBOBBOB1',
  secretKey: 'b'.repeat(40),
};

const far = useServer();
const near = useInspectedServer({
  config: {
    encryption: ENCRYPTION,
    accounts: [BOB],
    replicaTargets: [
      {
        name: 'far',
        get endpoint() {
          return far.endpoint;
        },
        region: 'us-east-1',
        ...SERVER_KEYS,
        markReplicas: true,
        timeoutMs: 5000,
        account: '111111111111',
      },
      {
        name: 'far-for-bob',
        get endpoint() {
          return far.endpoint;
        },
        region: 'us-east-1',
        ...SERVER_KEYS,
        markReplicas: true,
        timeoutMs: 5000,
        account: '444444444444',
        accounts: [BOB.number],
      },
      {
        name: 'far-by-line',
        get endpoint() {
          return line.endpoint;
        },
        region: 'us-east-1',
        ...SERVER_KEYS,
        markReplicas: true,
        timeoutMs: 2000,
        account: '555555555555',
      },
      {
        name: 'nowhere',
        endpoint: 'http://127.0.0.1:1',
        region: 'us-east-1',
        ...SERVER_KEYS,
        markReplicas: true,
        timeoutMs: 500,
        account: '222222222222',
      },
    ],
  },
});

/** The way to the far cluster, which can be cut. */
const line = (() => {
  const sockets = new Set<Socket>();
  let port = 0;
  let server: Server | undefined;
  return {
    get endpoint() {
      return `http://127.0.0.1:${port}`;
    },
    async open(): Promise<void> {
      const { hostname, port: farPort } = new URL(far.endpoint);
      const opened = createServer((socket) => {
        const other = connect(Number(farPort), hostname);
        for (const one of [socket, other]) {
          sockets.add(one);
          one.on('error', () => one.destroy());
        }
        socket.pipe(other).pipe(socket);
      });
      await new Promise<void>((resolve) => opened.listen(port, '127.0.0.1', resolve));
      port = (opened.address() as AddressInfo).port;
      server = opened;
    },
    async close(): Promise<void> {
      const closed = new Promise((resolve) => server?.close(resolve));
      for (const socket of sockets) socket.destroy();
      sockets.clear();
      await closed;
    },
  };
})();

const MIB = 1024 * 1024;

async function versioned(server: {
  s3: typeof far.s3;
  bucket(): Promise<string>;
}): Promise<string> {
  const Bucket = await server.bucket();
  const VersioningConfiguration = { Status: 'Enabled' as const };
  await server.s3.putBucketVersioning({ Bucket, VersioningConfiguration });
  return Bucket;
}

function rule(destination: string, changes: Partial<ReplicationRule> = {}): ReplicationRule {
  return {
    ID: 'r',
    Priority: 1,
    Status: 'Enabled',
    Filter: { Prefix: '' },
    DeleteMarkerReplication: { Status: 'Enabled' },
    Destination: { Bucket: `arn:aws:s3:::${destination}`, Account: '111111111111' },
    ...changes,
  };
}

const configure = (Bucket: string, ...Rules: ReplicationRule[]) =>
  near.s3.putBucketReplication({
    Bucket,
    ReplicationConfiguration: { Role: 'arn:aws:iam::1:role/x', Rules },
  });

/** A pair of buckets of which the first is replicated to the second. */
async function pair(changes: Partial<ReplicationRule> = {}) {
  const from = await versioned(near);
  const to = await versioned(far);
  await configure(from, rule(to, changes));
  return { from, to };
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      const status = JSON.stringify(await near.meta.eventStatus({ limit: 100 }));
      assert.fail(`waited in vain for ${what}: ${status}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const statusOf = async (Bucket: string, Key: string, VersionId?: string) =>
  (await near.s3.headObject({ Bucket, Key, VersionId })).ReplicationStatus;
const completed = (Bucket: string, Key: string, VersionId?: string) =>
  until(`${Key} to be COMPLETED`, async () => {
    return (await statusOf(Bucket, Key, VersionId)) === 'COMPLETED';
  });

describe('bucket replication', () => {
  test('a new version arrives with its metadata and tags, and both sides say so', async () => {
    const { from, to } = await pair();
    const body = Buffer.alloc(3 * MIB + 5, 'replica');
    const Key = 'a folder/ä.txt';
    const put = await near.s3.putObject({
      Bucket: from,
      Key,
      Body: body,
      ContentType: 'text/x',
      CacheControl: 'max-age=5',
      ContentDisposition: 'attachment',
      Metadata: { color: 'blue' },
      Tagging: 'k=v%2B1&e=',
      StorageClass: 'STANDARD_IA',
    });
    await completed(from, Key);
    const got = await far.s3.getObject({ Bucket: to, Key });
    assert.equal(got.ReplicationStatus, 'REPLICA');
    assert.equal(got.ETag, put.ETag);
    assert.equal(got.ContentType, 'text/x');
    assert.equal(got.CacheControl, 'max-age=5');
    assert.equal(got.ContentDisposition, 'attachment');
    assert.equal(got.StorageClass, 'STANDARD_IA');
    assert.deepEqual(got.Metadata, { color: 'blue' });
    sameBytes(await bytesOf(got), body);
    const { TagSet } = await far.s3.getObjectTagging({ Bucket: to, Key });
    assert.deepEqual(TagSet, [
      { Key: 'e', Value: '' },
      { Key: 'k', Value: 'v+1' },
    ]);
  });

  test('empty objects, copies and multipart objects arrive with their ETags', async () => {
    const { from, to } = await pair();
    await near.s3.putObject({ Bucket: from, Key: 'empty', Body: '' });
    await near.s3.copyObject({ Bucket: from, Key: 'copy', CopySource: `${from}/empty` });
    const place = { Bucket: from, Key: 'parts' };
    const { UploadId } = await near.s3.createMultipartUpload(place);
    const bodies = [Buffer.alloc(5 * MIB, 'one'), Buffer.alloc(5 * MIB, 'two'), Buffer.from('end')];
    const Parts = [];
    for (const [index, Body] of bodies.entries()) {
      const PartNumber = 3 * index + 2;
      const { ETag } = await near.s3.uploadPart({ ...place, UploadId, PartNumber, Body });
      Parts.push({ PartNumber, ETag });
    }
    const whole = await near.s3.completeMultipartUpload({
      ...place,
      UploadId,
      MultipartUpload: { Parts },
    });
    for (const Key of ['empty', 'copy', 'parts']) await completed(from, Key);
    const got = await far.s3.getObject({ Bucket: to, Key: 'parts' });
    assert.equal(got.ETag, whole.ETag);
    sameBytes(await bytesOf(got), Buffer.concat(bodies));
    assert.equal((await far.s3.headObject({ Bucket: to, Key: 'empty' })).ContentLength, 0);
    assert.equal((await far.s3.headObject({ Bucket: to, Key: 'copy' })).ContentLength, 0);
  });

  test('the newest version is the newest there, whatever the speed', async () => {
    const { from, to } = await pair();
    const last: string[] = [];
    await Promise.all(
      ['a', 'b', 'c'].map(async (Key) => {
        for (let count = 0; count < 8; count++) {
          const Body = `${Key}${count}`.repeat(1 + ((count * 7919) % 3000));
          await near.s3.putObject({ Bucket: from, Key, Body });
          if (count === 7) last.push(digest('md5', Body));
        }
        await completed(from, Key);
      }),
    );
    for (const Key of ['a', 'b', 'c']) {
      const { ETag } = await far.s3.headObject({ Bucket: to, Key });
      assert.ok(last.includes(ETag?.replaceAll('"', '') ?? ''), Key);
    }
    const { Versions } = await far.s3.listObjectVersions({ Bucket: to });
    assert.equal(Versions?.length, 24);
  });

  test('delete markers follow, deleted versions do not', async () => {
    const { from, to } = await pair();
    const { VersionId } = await near.s3.putObject({ Bucket: from, Key: 'k', Body: 'x' });
    await completed(from, 'k');
    await near.s3.deleteObject({ Bucket: from, Key: 'k' });
    await until('the delete marker', async () => {
      return (await codeOf(far.s3.getObject({ Bucket: to, Key: 'k' }))) === 'NoSuchKey';
    });
    await near.s3.deleteObject({ Bucket: from, Key: 'k', VersionId });
    await until('an empty backlog', async () => {
      return (await near.meta.eventStatus({ limit: 100 })).length === 0;
    });
    const { Versions, DeleteMarkers } = await far.s3.listObjectVersions({ Bucket: to });
    assert.equal(Versions?.length, 1);
    assert.equal(DeleteMarkers?.length, 1);
  });

  test('without delete marker replication they stay', async () => {
    const { from, to } = await pair({ DeleteMarkerReplication: { Status: 'Disabled' } });
    await near.s3.putObject({ Bucket: from, Key: 'k', Body: 'x' });
    await completed(from, 'k');
    await near.s3.deleteObject({ Bucket: from, Key: 'k' });
    await near.s3.putObject({ Bucket: from, Key: 'later', Body: 'x' });
    await completed(from, 'later');
    assert.equal(await codeOf(far.s3.headObject({ Bucket: to, Key: 'k' })), 'ok');
  });

  test('only what the rules name is replicated', async () => {
    const { from, to } = await pair({
      Filter: { And: { Prefix: 'in/', Tags: [{ Key: 'x', Value: '1' }] } },
      DeleteMarkerReplication: { Status: 'Disabled' },
    });
    await near.s3.putObject({ Bucket: from, Key: 'out', Body: 'x', Tagging: 'x=1' });
    await near.s3.putObject({ Bucket: from, Key: 'in/untagged', Body: 'x', Tagging: 'x=2' });
    await near.s3.putObject({ Bucket: from, Key: 'in/tagged', Body: 'x', Tagging: 'a=b&x=1' });
    await completed(from, 'in/tagged');
    assert.equal(await statusOf(from, 'out'), undefined);
    assert.equal(await statusOf(from, 'in/untagged'), undefined);
    const { Versions } = await far.s3.listObjectVersions({ Bucket: to });
    assert.deepEqual(
      Versions?.map(({ Key }) => Key),
      ['in/tagged'],
    );
  });

  test('changed tags follow without another version', async () => {
    const { from, to } = await pair();
    await near.s3.putObject({ Bucket: from, Key: 'k', Body: 'x', Tagging: 'a=1' });
    await completed(from, 'k');
    const Tagging = { TagSet: [{ Key: 'b', Value: '2' }] };
    await near.s3.putObjectTagging({ Bucket: from, Key: 'k', Tagging });
    await until('the tags', async () => {
      const { TagSet } = await far.s3.getObjectTagging({ Bucket: to, Key: 'k' });
      return JSON.stringify(TagSet) === JSON.stringify(Tagging.TagSet);
    });
    await completed(from, 'k');
    const { Versions } = await far.s3.listObjectVersions({ Bucket: to });
    assert.equal(Versions?.length, 1);
  });

  test('an older version whose tags change does not become the newest there', async () => {
    const { from, to } = await pair();
    const place = { Bucket: from, Key: 'k' };
    const { VersionId } = await near.s3.putObject({ ...place, Body: 'old' });
    await near.s3.putObject({ ...place, Body: 'new' });
    await completed(from, 'k');
    const Tagging = { TagSet: [{ Key: 'a', Value: '1' }] };
    await near.s3.putObjectTagging({ ...place, VersionId, Tagging });
    await until('FAILED', async () => (await statusOf(from, 'k', VersionId)) === 'FAILED');
    assert.equal(
      (await bytesOf(await far.s3.getObject({ Bucket: to, Key: 'k' }))).toString(),
      'new',
    );
    assert.equal((await far.s3.listObjectVersions({ Bucket: to })).Versions?.length, 2);
  });

  test('retention and legal holds follow, at first and when they change', async () => {
    const [from, to] = ['locked-near', 'locked-far'];
    await near.s3.createBucket({ Bucket: from, ObjectLockEnabledForBucket: true });
    await far.s3.createBucket({ Bucket: to, ObjectLockEnabledForBucket: true });
    await configure(from, rule(to));
    const place = { Bucket: from, Key: 'k' };
    const until1 = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
    await near.s3.putObject({
      ...place,
      Body: 'x',
      ObjectLockMode: 'GOVERNANCE',
      ObjectLockRetainUntilDate: until1,
    });
    await completed(from, 'k');
    const lockOf = async () => {
      const head = await far.s3.headObject({ Bucket: to, Key: 'k' });
      const { ObjectLockMode, ObjectLockRetainUntilDate, ObjectLockLegalHoldStatus } = head;
      return [ObjectLockMode, ObjectLockRetainUntilDate?.getTime(), ObjectLockLegalHoldStatus];
    };
    assert.deepEqual((await lockOf()).slice(0, 2), ['GOVERNANCE', until1.getTime()]);
    const until2 = new Date(until1.getTime() + 60_000);
    await near.s3.putObjectRetention({
      ...place,
      Retention: { Mode: 'GOVERNANCE', RetainUntilDate: until2 },
    });
    await near.s3.putObjectLegalHold({ ...place, LegalHold: { Status: 'ON' } });
    await until('the lock', async () => {
      const [mode, ms, hold] = await lockOf();
      return mode === 'GOVERNANCE' && ms === until2.getTime() && hold === 'ON';
    });
    await completed(from, 'k');
    assert.equal((await far.s3.listObjectVersions({ Bucket: to })).Versions?.length, 1);
  });

  test('tags that change while the version is on its way arrive, too', async () => {
    const { from, to } = await pair();
    const body = Buffer.alloc(8 * MIB, 'slow');
    for (let round = 0; round < 4; round++) {
      const Key = `k${round}`;
      await near.s3.putObject({ Bucket: from, Key, Body: body });
      await new Promise((resolve) => setTimeout(resolve, 60 * round));
      const TagSet = [{ Key: 'round', Value: String(round) }];
      await near.s3.putObjectTagging({ Bucket: from, Key, Tagging: { TagSet } });
      await until('the tags', async () => {
        const tagging = await far.s3.getObjectTagging({ Bucket: to, Key }).catch(() => undefined);
        return JSON.stringify(tagging?.TagSet) === JSON.stringify(TagSet);
      });
    }
  });

  test('encrypted objects are sent in the clear and encrypted there as the bucket says', async () => {
    const { from, to } = await pair();
    const ServerSideEncryption = 'AES256' as const;
    const body = Buffer.alloc(2 * MIB + 1, 'secret');
    await near.s3.putObject({ Bucket: from, Key: 'k', Body: body, ServerSideEncryption });
    const place = { Bucket: from, Key: 'parts' };
    const { UploadId } = await near.s3.createMultipartUpload({ ...place, ServerSideEncryption });
    const part = await near.s3.uploadPart({ ...place, UploadId, PartNumber: 7, Body: body });
    const Parts = [{ PartNumber: 7, ETag: part.ETag }];
    await near.s3.completeMultipartUpload({ ...place, UploadId, MultipartUpload: { Parts } });
    const customer = {
      SSECustomerAlgorithm: 'AES256',
      SSECustomerKey: Buffer.alloc(32, 1).toString('base64'),
    };
    await near.s3.putObject({ Bucket: from, Key: 'theirs', Body: 'x', ...customer });
    for (const Key of ['k', 'parts']) {
      await completed(from, Key);
      sameBytes(await bytesOf(await far.s3.getObject({ Bucket: to, Key })), body);
    }
    const theirs = await near.s3.headObject({ Bucket: from, Key: 'theirs', ...customer });
    assert.equal(theirs.ReplicationStatus, undefined);
  });

  test('what cannot be asked stays PENDING, and arrives when the other side is back', async () => {
    const from = await versioned(near);
    const to = await versioned(far);
    await line.open();
    await configure(
      from,
      rule(to, { Destination: { Bucket: `arn:aws:s3:::${to}`, Account: '555555555555' } }),
    );
    await line.close();
    for (const Key of ['a', 'b', 'c', 'd', 'e']) {
      await near.s3.putObject({ Bucket: from, Key, Body: Key });
    }
    await until('a problem', async () => {
      const backlogs = await near.meta.eventStatus({ limit: 100 });
      return /cannot be reached/.test(
        backlogs.find(({ bucket }) => bucket === from)?.problem ?? '',
      );
    });
    // As often as something that is refused is tried, and more.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    for (const Key of ['a', 'e']) assert.equal(await statusOf(from, Key), 'PENDING');
    await line.open();
    for (const Key of ['a', 'b', 'c', 'd', 'e']) await completed(from, Key);
    await line.close();
  });

  test('what is refused is FAILED', async () => {
    const from = await versioned(near);
    const to = await versioned(far);
    await configure(from, rule(to));
    await far.s3.deleteBucket({ Bucket: to });
    await near.s3.putObject({ Bucket: from, Key: 'k', Body: 'x' });
    assert.equal(await statusOf(from, 'k'), 'PENDING');
    await until('FAILED', async () => (await statusOf(from, 'k')) === 'FAILED');
  });

  test('replicas go nowhere else', async () => {
    const { from } = await pair();
    await near.s3.putObject({ Bucket: from, Key: 'mine', Body: 'x' });
    const key = { Bucket: from, Key: 'theirs', Body: 'x' };
    near.s3.middlewareStack.add(
      (next, context) => (args) => {
        const { headers } = args.request as { headers: Record<string, string> };
        const input = args.input as { Key?: string };
        if (context.commandName === 'PutObjectCommand' && input.Key === 'theirs') {
          headers['x-amz-replication-status'] = 'REPLICA';
        }
        return next(args);
      },
      { step: 'build', name: 'asReplica' },
    );
    await near.s3.putObject(key);
    near.s3.middlewareStack.remove('asReplica');
    await completed(from, 'mine');
    assert.equal(await statusOf(from, 'theirs'), 'REPLICA');
  });

  test('objects from before, and those that failed, are replicated on demand', async () => {
    const from = await versioned(near);
    const to = await versioned(far);
    for (const Key of ['in/a', 'in/b', 'out']) {
      await near.s3.putObject({ Bucket: from, Key, Body: 'old' });
      await near.s3.putObject({ Bucket: from, Key, Body: Key });
    }
    await near.s3.deleteObject({ Bucket: from, Key: 'in/b' });
    await configure(from, rule(to, { Filter: { Prefix: 'in/' } }));
    const resync = async (all: boolean) => {
      const { meta } = near;
      const done = await resyncBucket({
        meta,
        clock: systemClock,
        bucket: from,
        all,
        progress: () => {},
      });
      await completed(from, 'in/a');
      return done;
    };
    assert.deepEqual(await resync(false), { seen: 2, queued: 1, waiting: 0 });
    sameBytes(
      await bytesOf(await far.s3.getObject({ Bucket: to, Key: 'in/a' })),
      Buffer.from('in/a'),
    );
    assert.deepEqual(await resync(false), { seen: 2, queued: 0, waiting: 0 });
    assert.deepEqual(await resync(true), { seen: 2, queued: 1, waiting: 0 });
    const { Versions } = await far.s3.listObjectVersions({ Bucket: to });
    assert.equal(Versions?.length, 2);
    await assert.rejects(
      resyncBucket({
        meta: near.meta,
        clock: systemClock,
        bucket: 'no-such-bucket',
        all: false,
        progress: () => {},
      }),
      /there is no bucket/,
    );
  });

  test('a configuration comes back as it was sent, and goes', async () => {
    const { from, to } = await pair({
      Filter: { Tag: { Key: 'x', Value: 'y' } },
      DeleteMarkerReplication: { Status: 'Disabled' },
      SourceSelectionCriteria: { SseKmsEncryptedObjects: { Status: 'Enabled' } },
      ExistingObjectReplication: { Status: 'Enabled' },
    });
    const { ReplicationConfiguration } = await near.s3.getBucketReplication({ Bucket: from });
    assert.deepEqual(ReplicationConfiguration, {
      Role: 'arn:aws:iam::1:role/x',
      Rules: [
        {
          ...rule(to),
          Filter: { Tag: { Key: 'x', Value: 'y' } },
          DeleteMarkerReplication: { Status: 'Disabled' },
          SourceSelectionCriteria: { SseKmsEncryptedObjects: { Status: 'Enabled' } },
          ExistingObjectReplication: { Status: 'Enabled' },
        },
      ],
    });
    const suspended = { Status: 'Suspended' as const };
    await refusedWith(
      'InvalidBucketState',
      near.s3.putBucketVersioning({ Bucket: from, VersioningConfiguration: suspended }),
    );
    await near.s3.deleteBucketReplication({ Bucket: from });
    await refusedWith(
      'ReplicationConfigurationNotFoundError',
      near.s3.getBucketReplication({ Bucket: from }),
    );
    await near.s3.putBucketVersioning({ Bucket: from, VersioningConfiguration: suspended });
  });

  test('a target is for the accounts that the operator has named', async () => {
    const bob = new S3({
      endpoint: near.endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      maxAttempts: 1,
      credentials: { accessKeyId: BOB.accessKey, secretAccessKey: BOB.secretKey },
    });
    try {
      const Bucket = 'of-bob';
      await bob.createBucket({ Bucket });
      const VersioningConfiguration = { Status: 'Enabled' as const };
      await bob.putBucketVersioning({ Bucket, VersioningConfiguration });
      const to = await versioned(far);
      const put = (account: string) => {
        const Destination = { Bucket: `arn:aws:s3:::${to}`, Account: account };
        const ReplicationConfiguration = { Role: 'r', Rules: [rule(to, { Destination })] };
        return bob.putBucketReplication({ Bucket, ReplicationConfiguration });
      };
      const refused = await refusedWith('InvalidRequest', put('111111111111'));
      assert.match(refused.message, /bucket must exist/);
      await put('444444444444');
      await bob.putObject({ Bucket, Key: 'k', Body: 'x' });
      await until('the replica', async () => {
        return (await bob.headObject({ Bucket, Key: 'k' })).ReplicationStatus === 'COMPLETED';
      });
    } finally {
      bob.destroy();
    }
  });

  test('what cannot be done is refused', async () => {
    const from = await versioned(near);
    const to = await versioned(far);
    const refused = async (code: string, ...rules: ReplicationRule[]) =>
      (await refusedWith(code, configure(from, ...rules))).message;
    assert.match(await refused('InvalidRequest', rule(`${to}-x`)), /bucket must exist/);
    const bare = await far.bucket();
    assert.match(await refused('InvalidRequest', rule(bare)), /must have versioning/);
    const Bucket = `arn:aws:s3:::${to}`;
    const unknown = { Bucket, Account: '333333333333' };
    assert.match(await refused('InvalidRequest', rule(to, { Destination: unknown })), /must exist/);
    const silent = { Bucket, Account: '222222222222' };
    assert.match(await refused('InvalidRequest', rule(to, { Destination: silent })), /cannot be/);
    await refused('InvalidArgument', rule(to, { Destination: { Bucket: to } }));
    await refused('InvalidRequest', rule(to), rule(to, { ID: 'other' }));
    await refused('InvalidArgument', rule(to), rule(to, { Priority: 2 }));
    await refused('InvalidRequest', rule(to, { Priority: undefined }));
    await refused('InvalidRequest', rule(to, { DeleteMarkerReplication: undefined }));
    const Filter = { Tag: { Key: 'x', Value: 'y' } };
    assert.match(await refused('InvalidRequest', rule(to, { Filter })), /Tag filter/);
    const ReplicationTime = { Status: 'Enabled' as const, Time: { Minutes: 15 } };
    const Metrics = { Status: 'Enabled' as const, EventThreshold: { Minutes: 15 } };
    await refused(
      'NotImplemented',
      rule(to, { Destination: { Bucket, ReplicationTime, Metrics } }),
    );
    const plain = await near.bucket();
    const message = (await refusedWith('InvalidRequest', configure(plain, rule(to)))).message;
    assert.match(message, /Versioning must be 'Enabled'/);
  });
});
