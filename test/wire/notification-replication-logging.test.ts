/** Hostile notification, replication and logging configurations, and replicas that nobody may write. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RawAnswer } from '../support/raw.ts';
import { useReceiver } from '../support/receiver.ts';
import { digest, SERVER_KEYS } from '../support/server.ts';
import { useWireServer } from '../support/wire.ts';

const BOB = {
  displayName: 'bob',
  number: '222222222222',
  accessKey: 'ASHLBOBBOBBOBBOBBOB1',
  secretKey: 'b'.repeat(40),
};

const receiver = useReceiver();
const server = useWireServer({
  config: {
    accounts: [BOB],
    events: {
      keepMs: 60_000,
      targets: [
        {
          name: 'hook',
          type: 'webhook',
          get url() {
            return receiver.url;
          },
          timeoutMs: 2000,
        },
      ],
    },
    replicaTargets: [
      {
        name: 'itself',
        get endpoint() {
          return server.endpoint;
        },
        region: 'us-east-1',
        ...SERVER_KEYS,
        markReplicas: true,
        timeoutMs: 5000,
      },
    ],
  },
});

function answers(answer: RawAnswer, status: number, code: string | undefined, what?: string): void {
  assert.deepEqual([answer.status, answer.code], [status, code], what ?? answer.body);
}

const RULE =
  '<Rule><ID>r</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix/></Filter><DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::TO</Bucket></Destination></Rule>';
const QUEUE =
  '<QueueConfiguration><Queue>arn:aws:sqs:r:0:hook</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>';

/** A valid document for each configuration, of `from` with `to` as the other bucket. */
function documents(to: string): Record<string, string> {
  return {
    notification: `<NotificationConfiguration>${QUEUE}</NotificationConfiguration>`,
    replication: `<ReplicationConfiguration>${RULE.replace('TO', to)}</ReplicationConfiguration>`,
    logging: `<BucketLoggingStatus><LoggingEnabled><TargetBucket>${to}</TargetBucket><TargetPrefix>p</TargetPrefix></LoggingEnabled></BucketLoggingStatus>`,
  };
}

async function pair(): Promise<{ from: string; to: string }> {
  const [from, to] = [await server.bucket(), await server.bucket()];
  for (const Bucket of [from, to]) {
    const VersioningConfiguration = { Status: 'Enabled' as const };
    await server.s3.putBucketVersioning({ Bucket, VersioningConfiguration });
  }
  const Policy = JSON.stringify({
    Statement: {
      Effect: 'Allow',
      Principal: { Service: 'logging.s3.amazonaws.com' },
      Action: 's3:PutObject',
      Resource: `arn:aws:s3:::${to}/*`,
    },
  });
  await server.s3.putBucketPolicy({ Bucket: to, Policy });
  return { from, to };
}

const put = (bucket: string, resource: string, body: string): Promise<RawAnswer> =>
  server.send({ method: 'PUT', path: `/${bucket}`, query: `${resource}=`, body });

const get = (bucket: string, resource: string): Promise<RawAnswer> =>
  server.send({ method: 'GET', path: `/${bucket}`, query: `${resource}=` });

test('documents that are broken, hostile or too long change nothing', async () => {
  const { from, to } = await pair();
  for (const [resource, valid] of Object.entries(documents(to))) {
    const before = await get(from, resource);
    answers(await put(from, resource, ''), 400, 'MissingRequestBodyError', resource);
    const root = /<(\w+)/.exec(valid)?.[1] ?? '';
    const broken = [
      '<',
      valid.slice(0, -1),
      `${valid}${valid}`,
      `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>${valid.replace(/(<\w+>)[^<]+/, '$1&e;')}`,
      valid.replaceAll(root, `${root}x`),
      valid.replace(`</${root}>`, `<More/></${root}>`),
      valid.replace(`</${root}>`, `text</${root}>`),
      '<a>'.repeat(5000),
      `<${root}>${'<x>'.repeat(100)}${'</x>'.repeat(100)}</${root}>`,
      '\u0000',
    ];
    for (const body of broken) {
      answers(
        await put(from, resource, body),
        400,
        'MalformedXML',
        `${resource}: ${body.slice(0, 60)}`,
      );
    }
    const long = `<${root}>${' '.repeat(2_200_000)}</${root}>`;
    answers(await put(from, resource, long), 400, 'MaxMessageLengthExceeded', resource);
    assert.equal(
      (await get(from, resource)).body.replace(/<RequestId>.*/, ''),
      before.body.replace(/<RequestId>.*/, ''),
    );
    assert.equal((await put(from, resource, valid)).status, 200, resource);
  }
  const many = Array.from({ length: 900 }, (_, index) =>
    RULE.replace('TO', to)
      .replace('<ID>r<', `<ID>${String(index).padStart(200, 'x')}<`)
      .replace('<Priority>1<', `<Priority>${index}<`),
  );
  const config = `<ReplicationConfiguration>${many.join('')}</ReplicationConfiguration>`;
  answers(await put(from, 'replication', config), 400, 'InvalidRequest');
});

test('methods that a configuration does not have are refused', async () => {
  const { from } = await pair();
  for (const resource of ['notification', 'logging']) {
    const answer = await server.send({ method: 'DELETE', path: `/${from}`, query: `${resource}=` });
    answers(answer, 405, 'MethodNotAllowed', resource);
  }
  const gone = await server.send({ method: 'DELETE', path: `/${from}`, query: 'replication=' });
  assert.equal(gone.status, 204);
  for (const resource of ['notification', 'logging', 'replication']) {
    const query = `${resource}=&versionId=x`;
    const answer = await server.send({ method: 'GET', path: `/${from}`, query });
    answers(answer, 400, 'InvalidArgument', resource);
    answers(await server.sendUnsigned('GET', `/${from}?${resource}`), 403, 'AccessDenied');
  }
});

test('what a client says of itself does not get into the message of an event', async () => {
  const { from, to } = await pair();
  assert.equal((await put(from, 'notification', documents(to)['notification'] ?? '')).status, 200);
  const path = `/${from}/${encodeURIComponent('"},{"eventName":"evil\u0001\n')}`;
  const headers = { 'x-forwarded-for': '203.0.113.9', 'user-agent': '"}]' };
  assert.equal((await server.send({ method: 'PUT', path, body: 'x', headers })).status, 200);
  const [event, ...more] = await receiver.until(1, from);
  assert.equal(more.length, 0);
  assert.equal(event?.requestParameters.sourceIPAddress, '127.0.0.1');
  assert.equal(event.s3.object.key, '%22%7D%2C%7B%22eventName%22%3A%22evil%01%0A');
});

test('replicas are written by those who may, and the header says nothing else', async () => {
  const { from } = await pair();
  const Policy = (actions: string[]): string =>
    JSON.stringify({
      Statement: {
        Effect: 'Allow',
        Principal: { AWS: BOB.number },
        Action: actions,
        Resource: `arn:aws:s3:::${from}/*`,
      },
    });
  const write = (value: string, keys = BOB): Promise<RawAnswer> =>
    server.send({
      method: 'PUT',
      path: `/${from}/k`,
      body: 'x',
      keys,
      headers: { 'x-amz-replication-status': value, 'content-md5': digest('md5', 'x', 'base64') },
    });
  await server.s3.putBucketPolicy({ Bucket: from, Policy: Policy(['s3:PutObject']) });
  answers(await write('REPLICA'), 403, 'AccessDenied');
  await server.s3.putBucketPolicy({
    Bucket: from,
    Policy: Policy(['s3:PutObject', 's3:ReplicateObject']),
  });
  assert.equal((await write('REPLICA')).status, 200);
  const head = await server.s3.headObject({ Bucket: from, Key: 'k' });
  assert.equal(head.ReplicationStatus, 'REPLICA');
  for (const value of ['COMPLETED', 'PENDING', 'replica', 'x']) {
    answers(await write(value), 501, 'NotImplemented', value);
  }
  const marker = await server.send({
    method: 'DELETE',
    path: `/${from}/k`,
    keys: BOB,
    headers: { 'x-amz-replication-status': 'REPLICA' },
  });
  answers(marker, 403, 'AccessDenied');
  const several = '<Delete><Object><Key>k</Key></Object></Delete>';
  const markers = await server.send({
    method: 'POST',
    path: `/${from}`,
    query: 'delete=',
    body: several,
    headers: {
      'x-amz-replication-status': 'REPLICA',
      'content-md5': digest('md5', several, 'base64'),
    },
  });
  answers(markers, 501, 'NotImplemented');
});

test('whose bucket it is decides which targets there are', async () => {
  const bob = (method: string, path: string, more: { query?: string; body?: string } = {}) =>
    server.send({ method, path, keys: BOB, ...more });
  assert.equal((await bob('PUT', '/of-bob')).status, 200);
  const { notification = '', replication = '' } = documents('of-bob');
  const told = await bob('PUT', '/of-bob', { query: 'notification=', body: notification });
  answers(told, 400, 'InvalidArgument');
  assert.match(told.body, /Unable to validate the following destination configurations/);
  const versioning = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>';
  await bob('PUT', '/of-bob', { query: 'versioning=', body: versioning });
  const replicated = await bob('PUT', '/of-bob', { query: 'replication=', body: replication });
  answers(replicated, 400, 'InvalidRequest');
  assert.match(replicated.body, /Destination bucket must exist/);
});

test('a bucket that is replicated into itself does not run away', async () => {
  const { from } = await pair();
  const itself = documents(from)['replication'] ?? '';
  assert.equal((await put(from, 'replication', itself)).status, 200);
  await server.s3.putObject({ Bucket: from, Key: 'k', Body: 'x' });
  const deadline = performance.now() + 20_000;
  for (;;) {
    const { Versions = [] } = await server.s3.listObjectVersions({ Bucket: from });
    const old = Versions.find(({ IsLatest }) => IsLatest !== true);
    if (old !== undefined) {
      const head = await server.s3.headObject({ Bucket: from, Key: 'k', VersionId: old.VersionId });
      if (head.ReplicationStatus === 'COMPLETED') break;
    }
    assert.ok(performance.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // The replica made no event: nothing waits, so nothing can come after it.
  for (;;) {
    const backlogs = await server.meta.eventStatus({ limit: 100 });
    if (backlogs.every(({ bucket, waiting }) => bucket !== from || waiting === 0)) break;
    assert.ok(performance.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { Versions } = await server.s3.listObjectVersions({ Bucket: from });
  assert.equal(Versions?.length, 2);
});

test('the log holds no secrets', () => server.assertLogHoldsNoSecrets());
