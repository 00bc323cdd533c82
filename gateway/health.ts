/**
 * Three questions that must not be mixed: does the process run (live), can this gateway serve
 * (ready), can the cluster take writes (cluster). Anyone may ask, so answers hold no detail.
 */
import type { ObjectEngineStatus } from './object/create-engine.ts';
import type { RawReply, RawRequest } from './s3/request.ts';

export const HEALTH_PATH = '/_ashlar/health/';
/** The same for probes that were made for MinIO. */
const MINIO_PATH = /^\/minio\/health\//;

export interface Health {
  ok: boolean;
  /** What is wrong and what to look at, in a sentence. */
  reason?: string;
}

export function isReady(status: ObjectEngineStatus, stopping: boolean): Health {
  if (stopping) return { ok: false, reason: 'This gateway is stopping.' };
  if (status.layoutEpoch === undefined) {
    return {
      ok: false,
      reason: 'The cluster has no placement map yet: storage nodes are missing.',
    };
  }
  if (!status.ready) return { ok: false, reason: 'The metadata service does not answer.' };
  return { ok: true };
}

/** Writes need two nodes (three with the policy `strict`) of whatever placement group they meet. */
export function isWritable(status: ObjectEngineStatus, stopping: boolean): Health {
  const ready = isReady(status, stopping);
  if (!ready.ok) return ready;
  if (!status.inTouch) return { ok: false, reason: 'The metadata service does not answer.' };
  const { total, blocked } = status.groups;
  if (blocked === 0) return { ok: true };
  const share = blocked === total ? 'All writes' : `Writes to ${blocked} of ${total} groups`;
  return { ok: false, reason: `${share} are refused: too many storage nodes are away or full.` };
}

function healthReply(health: Health): RawReply {
  return {
    status: health.ok ? 200 : 503,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
    body: `${JSON.stringify({ status: health.ok ? 'ok' : 'unavailable', ...(health.ok ? {} : { reason: health.reason }) })}\n`,
  };
}

/** Answers `/_ashlar/health/{live,ready,cluster}` and MinIO's names of them; undefined for every other path. */
export function createHealthRoutes(
  status: () => ObjectEngineStatus,
  stopping: () => boolean,
): (request: Pick<RawRequest, 'method' | 'rawPath'>) => RawReply | undefined {
  return (request) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return undefined;
    switch (request.rawPath.replace(MINIO_PATH, HEALTH_PATH)) {
      case `${HEALTH_PATH}live`:
        return healthReply({ ok: true });
      case `${HEALTH_PATH}ready`:
        return healthReply(isReady(status(), stopping()));
      case `${HEALTH_PATH}cluster`:
        return healthReply(isWritable(status(), stopping()));
      default:
        return undefined;
    }
  };
}
