/** A thread that runs the seeds it is sent, one at a time. */
import { parentPort } from 'node:worker_threads';
import { PLANTED } from './planted.ts';
import { runSeed } from './run-seed.ts';

export interface Task {
  seed: number;
  /** One of PLANTED. */
  bug?: string | undefined;
}

const bugs: Readonly<Record<string, (typeof PLANTED)[keyof typeof PLANTED]>> = PLANTED;

parentPort?.on('message', ({ seed, bug }: Task) => {
  void runSeed({ seed, bugs: bug === undefined ? undefined : bugs[bug] }).then((result) => {
    parentPort?.postMessage(result);
  });
});
