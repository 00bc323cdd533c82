/**
 * The repair queue: replicas that were never written, are missing or are corrupt. One row per blob
 * and node, so that any number of reports of the same fault is one repair. Only blobs that something
 * refers to are repaired.
 */
import { Failure } from '../../base/failure.ts';
import { parseBlobId } from '../../base/ids.ts';
import type { KeyValueStore } from '../engine/kv.ts';
import type { Answer, ReplicaReport } from '../protocol.ts';
import { rawCodec, type Draft } from './draft.ts';
import { queueLength } from './garbage.ts';
import { blobKey, repairKey } from './keyspace.ts';
import { repairCodec } from './queue-records.ts';
import { countQueue } from './references.ts';
import { PENDING, type Runner } from './runner.ts';

/** Reports in one commit. */
const REPORT_BATCH = 200;

export interface Repairs {
  /** Queues repairs; repeating a report is harmless, one of an unknown blob is dropped. */
  report(reports: readonly ReplicaReport[]): Promise<void>;
  depth(): Promise<number>;
}

/** Bytes that are wrong are the stronger reason: the replica is there and must be replaced. */
function reportStep(draft: Draft, lane: number, reports: readonly ReplicaReport[]): Answer<null> {
  let read = true;
  for (const { blob, node, reason } of reports) {
    const blobRow = draft.row(blobKey(blob), rawCodec);
    const row = draft.row(repairKey(blob, node), repairCodec);
    if (blobRow === undefined || row === undefined) {
      read = false;
      continue;
    }
    if (blobRow.value === null) continue;
    if (row.value === null) {
      draft.check(blobRow);
      draft.put(row, { reason, sinceMs: draft.nowMs });
      countQueue(draft, { lane }, 'repair', 1);
    } else if (reason === 'corrupt' && row.value.reason === 'missing') {
      draft.put(row, { ...row.value, reason });
    }
  }
  return read ? { ok: true, value: null } : PENDING;
}

export function createRepairs(settings: {
  store: KeyValueStore;
  runner: Runner;
  lane: number;
}): Repairs {
  const { store, runner, lane } = settings;
  return {
    async report(reports) {
      for (const { blob } of reports) parseBlobId(blob);
      for (let from = 0; from < reports.length; from += REPORT_BATCH) {
        const batch = reports.slice(from, from + REPORT_BATCH);
        const keys = batch.flatMap(({ blob, node }) => [blobKey(blob), repairKey(blob, node)]);
        const answer = await runner.run(keys, (draft) => reportStep(draft, lane, batch));
        if (!answer.ok) throw new Failure('unavailable', 'the repair queue lost too many races');
      }
    },
    depth: () => queueLength(store, 'repair'),
  };
}
