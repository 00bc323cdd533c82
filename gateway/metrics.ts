/** What a gateway counts about itself, for Prometheus. No keys, no bucket names: labels stay few. */
import { createMetrics, type Metrics } from '../base/metrics.ts';
import type { ObjectEngineStatus } from './object/create-engine.ts';
import type { RequestRecord } from './s3/pipeline.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface GatewayMetrics {
  metrics: Metrics;
  observe(record: RequestRecord): void;
}

export function createGatewayMetrics(status: () => ObjectEngineStatus): GatewayMetrics {
  const metrics = createMetrics();
  const requests = metrics.counter({
    name: 'ashlar_s3_requests_total',
    help: 'S3 requests by operation and HTTP status.',
    labels: ['op', 'code'],
  });
  const durations = metrics.histogram({
    name: 'ashlar_s3_request_duration_seconds',
    help: 'Time from the request to the end of its reply.',
    labels: ['op'],
    buckets: SECONDS,
  });
  const received = metrics.counter({
    name: 'ashlar_s3_received_bytes_total',
    help: 'Bytes of request bodies.',
  });
  const sent = metrics.counter({
    name: 'ashlar_s3_sent_bytes_total',
    help: 'Bytes of reply bodies.',
  });
  metrics.gauge({
    name: 'ashlar_gateway_ready',
    help: '1 when this gateway can serve requests.',
    collect: (gauge) => gauge.set(status().ready ? 1 : 0),
  });
  metrics.gauge({
    name: 'ashlar_cluster_nodes',
    help: 'Storage nodes as this gateway sees them, by state.',
    labels: ['state'],
    collect: (gauge) => {
      const { nodes } = status();
      for (const state of ['up', 'suspect', 'down'] as const) {
        gauge.set(nodes.filter((node) => node.state === state).length, { state });
      }
    },
  });
  metrics.gauge({
    name: 'ashlar_degraded_blocks_written',
    help: 'Blocks that this gateway wrote to two nodes only; they are queued for repair.',
    collect: (gauge) => gauge.set(status().writes.degradedBlocks),
  });
  return {
    metrics,
    observe(record) {
      requests.add({ op: record.operation, code: record.status });
      durations.observe(record.durationMs / 1000, { op: record.operation });
      if (record.receivedBytes > 0) received.add({}, record.receivedBytes);
      if (record.sentBytes > 0) sent.add({}, record.sentBytes);
    },
  };
}
