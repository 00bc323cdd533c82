/** Gateways that die while they deliver events: nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CreateBucketCommand,
  PutBucketNotificationConfigurationCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { startCluster } from '../support/cluster.ts';
import { useReceiver } from '../support/receiver.ts';

const OBJECTS = 60;

const receiver = useReceiver({ delayMs: 100 });

test('gateways are killed while they deliver: every event arrives', async () => {
  const targets = [{ name: 'hook', type: 'webhook', url: receiver.url }];
  const cluster = await startCluster({
    args: ['--gateways', '2'],
    env: { ASHLAR_EVENTS_TARGETS: JSON.stringify(targets) },
  });
  try {
    const s3 = cluster.client();
    const Bucket = 'told';
    await s3.send(new CreateBucketCommand({ Bucket }));
    const QueueConfigurations = [
      { QueueArn: 'arn:aws:sqs:us-east-1:0:hook', Events: ['s3:ObjectCreated:*' as const] },
    ];
    const NotificationConfiguration = { QueueConfigurations };
    await s3.send(
      new PutBucketNotificationConfigurationCommand({ Bucket, NotificationConfiguration }),
    );
    const keys = Array.from({ length: OBJECTS }, (_, index) => `k${index}`);
    await Promise.all(keys.map((Key) => s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }))));
    await receiver.until(5, Bucket);
    const gateways = cluster.processes('gateway').map(({ pid }) => pid);
    for (const pid of gateways) process.kill(pid, 'SIGKILL');
    assert.ok(receiver.events().length < OBJECTS, 'they were killed in the middle');
    const told = () => new Set(receiver.events().map(({ s3: { object } }) => object.key));
    const deadline = performance.now() + 60_000;
    while (told().size < OBJECTS) {
      assert.ok(performance.now() < deadline, `only ${told().size} events arrived`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual([...told()].sort(), keys.toSorted());
    let status = await cluster.ashlar('events', 'status');
    while (!status.output.includes('No events wait') && performance.now() < deadline) {
      status = await cluster.ashlar('events', 'status');
    }
    assert.equal(status.code, 0);
    assert.match(status.output, /No events wait/);
    s3.destroy();
  } finally {
    await cluster.stop();
  }
});
