/** Accounts in the server of a test suite (`ashlar/testing`). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { startAshlar } from '../../cli/testing.ts';

test('a test suite names its accounts, and how open new buckets are', async () => {
  const credentials = { accessKeyId: 'TESTERKEY', secretAccessKey: 'secret of the tester' };
  const server = await startAshlar({
    accounts: [{ name: 'tester', ...credentials }],
    newBuckets: 'open',
  });
  const tester = await server.client({ credentials });
  const root = await server.client();
  try {
    await tester.send(new CreateBucketCommand({ Bucket: 'tests' }));
    const name = { Bucket: 'tests', Key: 'a' };
    await tester.send(new PutObjectCommand({ ...name, Body: 'x', ACL: 'public-read' }));
    assert.equal((await fetch(`${server.endpoint}/tests/a`)).status, 200);
    await root.send(new GetObjectCommand(name));
  } finally {
    tester.destroy();
    root.destroy();
    await server.stop();
  }
});
