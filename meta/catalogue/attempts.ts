/**
 * Attempts: work of two commits that leaves a mark in between (deleting a bucket, completing an
 * upload). The mark names the attempt; a mark whose attempt is not under way in this process is what
 * a crash or a failed commit left behind, and counts for nothing.
 */
export interface Attempts {
  /** Runs `work` under a new name, which is live until `work` has settled. */
  run<T>(work: (attempt: string) => Promise<T>): Promise<T>;
  isLive: (attempt: string) => boolean;
  /** Waits until the attempt has settled, however; false when it is not live. */
  settled(attempt: string): Promise<boolean>;
}

export function createAttempts(boot: string): Attempts {
  const live = new Map<string, Promise<unknown>>();
  let count = 0;
  return {
    async run(work) {
      const attempt = `${boot}-${count++}`;
      const running = work(attempt);
      live.set(attempt, running);
      try {
        return await running;
      } finally {
        live.delete(attempt);
      }
    },
    isLive: (attempt) => live.has(attempt),
    async settled(attempt) {
      const running = live.get(attempt);
      if (running === undefined) return false;
      await running.catch(() => {});
      return true;
    },
  };
}
