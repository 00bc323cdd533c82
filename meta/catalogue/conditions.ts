/** Preconditions of writes, judged on the row that the commit will check. */
import type { Answer, ObjectRecord, WriteCondition } from '../protocol.ts';

function failed(condition: string): Answer<never> {
  return { ok: false, refusal: 'PreconditionFailed', detail: { Condition: condition } };
}

/**
 * If-None-Match and If-Match of a write, or If-Match of a delete. A missing key fails If-Match with
 * NoSuchKey, `*` included (AWS user guide, "conditional writes" and "conditional deletes"; for
 * deletes measured against AWS in localstack/localstack issue 13894 of 2026-03, where the s3-tests
 * of 2025 still expect 204). Undefined: the write may go on.
 */
export function judgeWrite(
  condition: WriteCondition | undefined,
  current: ObjectRecord | null,
): Answer<never> | undefined {
  if (condition === undefined) return undefined;
  const { ifNoneMatch } = condition;
  if (ifNoneMatch !== undefined && current !== null) {
    if (ifNoneMatch === '*' || ifNoneMatch === current.etag) return failed('If-None-Match');
  }
  if (condition.ifMatch !== undefined) {
    if (current === null) return { ok: false, refusal: 'NoSuchKey' };
    if (condition.ifMatch !== '*' && condition.ifMatch !== current.etag) return failed('If-Match');
  }
  return undefined;
}

/**
 * The conditions of a delete: as above, and size and time, which hold when there is no object (AWS
 * API reference, DeleteObject: "if the object doesn't exist, the operation returns 204"). `standing`
 * is what stands at the key, a delete marker included: it has a size (0) and a time, too.
 */
export function judgeDelete(
  condition: WriteCondition | undefined,
  current: ObjectRecord | null,
  standing: ObjectRecord | null = current,
): Answer<never> | undefined {
  const refused = judgeWrite(condition, current);
  if (refused !== undefined || condition === undefined || standing === null) return refused;
  const { ifMatchSize, ifMatchModifiedMs } = condition;
  if (ifMatchSize !== undefined && ifMatchSize !== standing.size) {
    return failed('x-amz-if-match-size');
  }
  if (
    ifMatchModifiedMs !== undefined &&
    Math.floor(ifMatchModifiedMs / 1000) !== Math.floor(standing.modifiedMs / 1000)
  ) {
    return failed('x-amz-if-match-last-modified-time');
  }
  return undefined;
}
