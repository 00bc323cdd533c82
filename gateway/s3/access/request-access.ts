/** What an operation may ask about rights, beyond those that its request was authorized by. */
import type { Answer, BucketState } from '../../../meta/protocol.ts';
import type { AccessNeed } from './access-need.ts';
import type { BucketSettings } from './bucket-settings.ts';

/** What must hold for the settings beside the rights of who asks; throws an S3Error. */
export type SettingsCheck = (settings: BucketSettings) => void;

/** What operations get to ask beyond what they were authorized for. */
export interface RequestAccess {
  /**
   * Whether who asks may do all of this, too, in the request's bucket as last judged, or as it would be
   * with these settings.
   */
  allows(needs: readonly AccessNeed[], settings?: BucketSettings): boolean;
  /**
   * `check` holds for the settings of the request's bucket now, and in the state in which every later
   * step happens; throws what `check` throws. To be called before anything is done.
   */
  require(check: SettingsCheck): void | Promise<void>;
  /**
   * Runs `call` with the state of the request's bucket in which it was judged, to be passed on with
   * the one step that it makes; again, with all that goes by the bucket's settings decided anew, when
   * the bucket has changed.
   */
  inState<T>(call: (expect: BucketState | undefined) => Promise<Answer<T>>): Promise<Answer<T>>;
}
