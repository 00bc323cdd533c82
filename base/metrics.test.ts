import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics } from './metrics.ts';

test('metrics are exposed in the Prometheus text format', async () => {
  const metrics = createMetrics();
  const requests = metrics.counter({
    name: 'ashlar_requests_total',
    help: 'Requests served.',
    labels: ['operation'],
  });
  requests.add({ operation: 'PutObject' });
  requests.add({ operation: 'PutObject' }, 2);
  const free = metrics.gauge({ name: 'ashlar_free_bytes', help: 'Bytes free.' });
  free.set(12);
  const duration = metrics.histogram({
    name: 'ashlar_duration_seconds',
    help: 'Time taken.',
    buckets: [0.1, 1],
  });
  duration.observe(0.5);
  const { contentType, body } = await metrics.expose();
  assert.match(contentType, /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'ashlar_requests_total{operation="PutObject"} 3',
    'ashlar_free_bytes 12',
    'ashlar_duration_seconds_bucket{le="0.1"} 0',
    'ashlar_duration_seconds_bucket{le="1"} 1',
    'ashlar_duration_seconds_sum 0.5',
  ]) {
    assert.ok(body.split('\n').includes(line), `${line} is missing in:\n${body}`);
  }
});

test('a gauge with collect is read when it is exposed', async () => {
  const metrics = createMetrics();
  let value = 1;
  metrics.gauge({
    name: 'ashlar_things',
    help: 'Things.',
    labels: ['kind'],
    collect: async (gauge) => gauge.set(value, { kind: 'a' }),
  });
  assert.match((await metrics.expose()).body, /^ashlar_things\{kind="a"\} 1$/m);
  value = 2;
  assert.match((await metrics.expose()).body, /^ashlar_things\{kind="a"\} 2$/m);
});

test('registries share nothing, and one name is given once', () => {
  const options = { name: 'ashlar_x_total', help: 'X.' };
  const metrics = createMetrics();
  metrics.counter(options);
  createMetrics().counter(options);
  assert.throws(() => metrics.counter(options));
});
