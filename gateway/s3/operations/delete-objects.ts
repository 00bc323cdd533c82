import type { Answer, Deleted, Meta, WriteCondition } from '../../../meta/protocol.ts';
import { deleteNeeds } from '../access/needs.ts';
import type { RequestAccess } from '../access/request-access.ts';
import { ERRORS, S3Error } from '../errors.ts';
import { validateKey } from '../names.ts';
import { bypassesGovernance, requireBodyDigest } from '../object-lock.ts';
import { type Context, defineOperation } from '../operation.ts';
import { refusalError, unwrap } from '../refusal.ts';
import { checkedVersionId } from '../version-id.ts';
import { type DeleteRequest, type ObjectToDelete, readDelete } from '../xml/delete.ts';
import { type DeleteOutcome, deleteResult } from '../xml/delete-result.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input extends DeleteRequest {
  bucket: string;
  bypassGovernance: boolean;
  /** Why an object cannot be deleted, whatever is stored: by its place in `objects`. */
  refused: (S3Error | undefined)[];
}

type KeyToDelete = Parameters<Meta['deleteObjects']>[0]['keys'][number];

interface Output {
  quiet: boolean;
  outcomes: DeleteOutcome[];
}

/** DeleteObjects: up to 1,000 keys, each with an outcome of its own, in the order of the request. */
export const deleteObjects = defineOperation<Input, Output>({
  name: 'DeleteObjects',
  permission: 's3:DeleteObject',
  body: 'xml',
  query: ['delete'],
  parse({ bucket, headers, xml }) {
    requireBodyDigest(headers);
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    const request = readDelete(xml);
    const bypassGovernance = bypassesGovernance(headers);
    return { bucket, ...request, bypassGovernance, refused: request.objects.map(refusalOf) };
  },
  async execute(input, context) {
    const { meta, access, signal } = context;
    const { bucket, quiet, objects, bypassGovernance } = input;
    let refused: (S3Error | undefined)[] = [];
    // What may be deleted is decided in the very state of the bucket in which it is.
    const answer = await access.inState((expect) => {
      refused = judgeEach(input, access);
      const keys = objects
        .filter((_, index) => refused[index] === undefined)
        .map((object) => commandOf(object, bypassGovernance));
      // Asked also for no key at all: the bucket may not exist.
      return meta.deleteObjects({ bucket, keys, expect }, { signal });
    });
    const answers = unwrap(answer, { bucket });
    let answered = 0;
    const outcomes = objects.map((object, index) => {
      const refusal = refused[index];
      return refusal === undefined
        ? outcomeOf(object, answers[answered++])
        : failed(object, refusal);
    });
    for (const outcome of outcomes) logOutcome(bucket, outcome, context);
    return { quiet, outcomes };
  },
  serialize: ({ quiet, outcomes }) =>
    xmlReply(deleteResult(quiet ? outcomes.filter((outcome) => !outcome.deleted) : outcomes)),
});

function logOutcome(bucket: string, outcome: DeleteOutcome, context: Context): void {
  const { key } = outcome;
  const name = 'BATCH.DELETE.OBJECT';
  if (outcome.deleted) {
    const versionId = outcome.markerId ?? outcome.versionId;
    context.logAction({ name, bucket, key, versionId, status: 204, code: undefined });
  } else {
    const { versionId, code } = outcome;
    const { status } = ERRORS[code];
    context.logAction({ name, bucket, key, versionId, status, code });
  }
}

/** Why each object cannot be deleted: by itself, or for want of the right to it. */
function judgeEach(
  { bucket, objects, refused, bypassGovernance }: Input,
  access: RequestAccess,
): (S3Error | undefined)[] {
  return objects.map((object, index) => {
    const refusal = refused[index];
    if (refusal !== undefined) return refusal;
    const allowed = access.allows(deleteNeeds(bucket, object, bypassGovernance));
    return allowed ? undefined : new S3Error('AccessDenied');
  });
}

function commandOf(object: ObjectToDelete, bypassGovernance: boolean): KeyToDelete {
  const { key, versionId } = object;
  const named = versionId === undefined ? {} : { versionId };
  const bypass = bypassGovernance ? { bypassGovernance } : {};
  return { key, ...named, condition: conditionOf(object), ...bypass };
}

function refusalOf({ key, versionId }: ObjectToDelete): S3Error | undefined {
  try {
    validateKey(key);
    checkedVersionId(versionId);
    return undefined;
  } catch (error) {
    if (error instanceof S3Error) return error;
    throw error;
  }
}

function conditionOf({ etag, size, modifiedMs }: ObjectToDelete): WriteCondition | undefined {
  if (etag === undefined && size === undefined && modifiedMs === undefined) return undefined;
  return { ifMatch: etag, ifMatchSize: size, ifMatchModifiedMs: modifiedMs };
}

function outcomeOf(object: ObjectToDelete, answer: Answer<Deleted> | undefined): DeleteOutcome {
  if (answer === undefined) throw new S3Error('InternalError');
  if (!answer.ok) return failed(object, refusalError(answer, { key: object.key }));
  const { key, versionId } = object;
  const { marker, versionId: affected } = answer.value;
  const markerId = marker === true ? affected : undefined;
  return { key, versionId, deleted: true, markerId };
}

function failed({ key, versionId }: ObjectToDelete, error: S3Error): DeleteOutcome {
  return { key, versionId, deleted: false, code: error.code, message: error.message };
}
