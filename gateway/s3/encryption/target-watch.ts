/**
 * The default encryption of a bucket is known from kept settings, and a write finds out at its commit
 * whether they were out of date. Nothing may be stored otherwise than its bucket says at that moment:
 * so the write stops there, and begins again with the mode that counts.
 */
import type { KeyTarget } from '../../keys/protocol.ts';
import type { Context } from '../operation.ts';
import type { RequestedEncryption } from './headers.ts';

/** Thrown by a commit that was not made: the bucket's default has changed. */
export class TargetChanged extends Error {
  constructor() {
    super('the default encryption of the bucket has changed');
    this.name = 'TargetChanged';
  }
}

/** Changes of the default during one write: more than one is hardly possible. */
export const CHANGES_MAX = 5;

/** The mode of a write, which is watched from now on. Throws as `RequestEncryption.target`. */
export async function watchedTarget(
  requested: RequestedEncryption | undefined,
  context: Context,
): Promise<KeyTarget | undefined> {
  let target: KeyTarget | undefined;
  try {
    target = context.encryption.target(requested, context.settings);
  } catch (error) {
    // Refused by settings that may be out of date: this question brings them up to date.
    const { settings } = context;
    if (settings === undefined) throw error;
    await context.meta.getBucket({ bucket: settings.bucket.name });
    if (context.settings === settings) throw error;
    target = context.encryption.target(requested, context.settings);
  }
  context.watchSettings((settings) => {
    const now = context.encryption.target(requested, settings);
    if (!isSame(now, target)) throw new TargetChanged();
  });
  return target;
}

/**
 * Runs `write` with the mode of encryption that the bucket has when it commits. `write` is run again
 * when that has changed, so it must be able to.
 */
export async function withTarget<T>(
  requested: RequestedEncryption | undefined,
  context: Context,
  write: (target: KeyTarget | undefined) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const target = await watchedTarget(requested, context);
    try {
      return await write(target);
    } catch (error) {
      if (!(error instanceof TargetChanged) || attempt === CHANGES_MAX) throw error;
    }
  }
}

function isSame(one: KeyTarget | undefined, other: KeyTarget | undefined): boolean {
  if (one?.algorithm !== 'aws:kms' || other?.algorithm !== 'aws:kms') {
    return one?.algorithm === other?.algorithm;
  }
  return one.keyId === other.keyId && one.bucketKey === other.bucketKey;
}
