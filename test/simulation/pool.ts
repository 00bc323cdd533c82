/** Runs seeds on all cores. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { SeedResult } from './run-seed.ts';
import type { Task } from './worker.ts';

const WORKER = new URL('./worker.ts', import.meta.url);

/**
 * Runs `tasks` in order, some at once, and hands each result to `done`; when that returns true, no
 * further task is begun. Rejects when a thread dies, which names its seed.
 */
export async function runAll(
  tasks: readonly Task[],
  done: (result: SeedResult, task: Task) => boolean | void,
): Promise<void> {
  let next = 0;
  let stopped = false;
  const work = async (): Promise<void> => {
    const worker = new Worker(WORKER);
    try {
      for (;;) {
        const task = stopped ? undefined : tasks[next++];
        if (task === undefined) return;
        const result = await ask(worker, task);
        if (done(result, task) === true) stopped = true;
      }
    } finally {
      await worker.terminate();
    }
  };
  const threads = Math.min(tasks.length, availableParallelism());
  await Promise.all(Array.from({ length: threads }, work));
}

function ask(worker: Worker, task: Task): Promise<SeedResult> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown) => {
      reject(new Error(`seed ${task.seed} ended its thread: ${String(error)}`, { cause: error }));
    };
    worker.once('error', failed);
    worker.once('message', (result: SeedResult) => {
      worker.off('error', failed);
      resolve(result);
    });
    worker.postMessage(task);
  });
}
