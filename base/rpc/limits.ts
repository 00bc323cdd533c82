import { Failure } from '../failure.ts';
import type { RpcLimits } from './rpc.ts';

/** A failure frame with a message of full length has to fit. */
const META_BYTES_MIN = 4 * 1024;
const U32_MAX = 0xff_ff_ff_ff;

/** Throws Failure `invalid` for limits that a frame cannot state or a failure cannot fit in. */
export function checkLimits(limits: RpcLimits): void {
  const { metaBytesMax, payloadBytesMax } = limits;
  if (!(metaBytesMax >= META_BYTES_MIN && metaBytesMax <= U32_MAX)) {
    throw new Failure('invalid', `metaBytesMax is ${META_BYTES_MIN} … ${U32_MAX}`);
  }
  if (!(payloadBytesMax >= 0 && payloadBytesMax <= U32_MAX)) {
    throw new Failure('invalid', `payloadBytesMax is 0 … ${U32_MAX}`);
  }
}
