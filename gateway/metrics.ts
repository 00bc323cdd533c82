/** What a gateway counts about itself, for Prometheus. No keys, no bucket names: labels stay few. */
import { createMetrics, type Metrics } from '../base/metrics.ts';
import type { RpcRecord } from '../base/rpc/rpc-record.ts';
import { isWritable } from './health.ts';
import type { ObjectEngineStatus } from './object/create-engine.ts';
import type { Pipeline, RequestRecord } from './s3/pipeline.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface GatewayMetrics {
  metrics: Metrics;
  observe(record: RequestRecord): void;
  /** The pipeline, with its requests counted while they run: `observe` ends each. */
  counted(pipeline: Pipeline): Pipeline;
}

/** `version`: of Ashlar, for `ashlar_build_info`. */
export function createGatewayMetrics(
  status: () => ObjectEngineStatus,
  version: string,
): GatewayMetrics {
  const metrics = createMetrics();
  metrics
    .gauge({ name: 'ashlar_build_info', help: 'Always 1.', labels: ['version'] })
    .set(1, { version });
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
  const firstBytes = metrics.histogram({
    name: 'ashlar_s3_time_to_first_byte_seconds',
    help: 'Time from the request until its reply begins.',
    labels: ['op'],
    buckets: SECONDS,
  });
  let inFlight = 0;
  metrics.gauge({
    name: 'ashlar_s3_inflight_requests',
    help: 'S3 requests at this moment.',
    collect: (gauge) => gauge.set(inFlight),
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
    name: 'ashlar_gateway_nodes',
    help: 'Storage nodes as this gateway sees them, by state.',
    labels: ['state'],
    collect: (gauge) => {
      const { nodes } = status();
      for (const state of ['new', 'up', 'suspect', 'down'] as const) {
        gauge.set(nodes.filter((node) => node.state === state).length, { state });
      }
    },
  });
  metrics.gauge({
    name: 'ashlar_cluster_writable',
    help: '1 when this gateway can write to every placement group.',
    collect: (gauge) => gauge.set(isWritable(status(), false).ok ? 1 : 0),
  });
  addDataPath(metrics, status);
  metrics.gauge({
    name: 'ashlar_degraded_blocks_written',
    help: 'Blocks that this gateway wrote to two nodes only; they are queued for repair.',
    collect: (gauge) => gauge.set(status().writes.degradedBlocks),
  });
  return {
    metrics,
    counted: (pipeline) => (request) => {
      inFlight += 1;
      return pipeline(request);
    },
    observe(record) {
      inFlight -= 1;
      requests.add({ op: record.operation, code: record.status });
      durations.observe(record.durationMs / 1000, { op: record.operation });
      firstBytes.observe(record.firstByteMs / 1000, { op: record.operation });
      if (record.receivedBytes > 0) received.add({}, record.receivedBytes);
      if (record.sentBytes > 0) sent.add({}, record.sentBytes);
    },
  };
}

const RPC_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10];

/** The calls of this process to others. */
export function addRpcMetrics(metrics: Metrics, record: RpcRecord): void {
  const durations = metrics.histogram({
    name: 'ashlar_rpc_duration_seconds',
    help: 'Time of calls to other processes, by peer and method.',
    labels: ['peer', 'method'],
    buckets: RPC_SECONDS,
  });
  const errors = metrics.counter({
    name: 'ashlar_rpc_errors_total',
    help: 'Calls to other processes that failed, by kind of failure.',
    labels: ['peer', 'method', 'kind'],
  });
  record.attach((peer, method) => {
    const observe = durations.bind({ peer, method });
    return ({ durationMs, failure }) => {
      observe(durationMs / 1000);
      if (failure !== undefined) errors.add({ peer, method, kind: failure });
    };
  });
}

/** Counters of the object engine; gauges to Prometheus, since they are read and not added to. */
function addDataPath(metrics: Metrics, status: () => ObjectEngineStatus): void {
  metrics.gauge({
    name: 'ashlar_gateway_running',
    help: 'Blobs being written and objects being read at this moment.',
    labels: ['what'],
    collect(gauge) {
      const { blobs, reads } = status().running;
      gauge.set(blobs, { what: 'writes' });
      gauge.set(reads, { what: 'reads' });
    },
  });
  metrics.gauge({
    name: 'ashlar_gateway_buffered_bytes',
    help: 'Memory that holds blocks on their way.',
    labels: ['what'],
    collect(gauge) {
      const { small, large, readAhead } = status().memory;
      gauge.set(small + large, { what: 'writes' });
      gauge.set(readAhead, { what: 'reads' });
    },
  });
  metrics.gauge({
    name: 'ashlar_block_reads',
    help: 'Blocks read since the start, and what happened to some of them on the way.',
    labels: ['what'],
    collect(gauge) {
      for (const [what, value] of Object.entries(status().reads)) gauge.set(value, { what });
    },
  });
}
