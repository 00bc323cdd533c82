/** How a verb for operators ends when it does not end well. */
import { EXIT } from '../../base/lifecycle.ts';

/** Shown as it is, without a stack: says what is wrong and what to do. */
export class VerbError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.name = 'VerbError';
    this.exitCode = exitCode;
  }
}
