/**
 * Turns: callers that name the same thing go one after the other, in the order they came. Without
 * them N writers of one key would each read, and N − 1 lose their commit, again and again. A
 * courtesy within one process; what is right is decided by the checks of the commits alone.
 */
export interface Turns {
  /** Runs `work` when it is the caller's turn at all of `names`. */
  take<T>(names: readonly string[], work: () => Promise<T>): Promise<T>;
}

export function createTurns(): Turns {
  const last = new Map<string, Promise<unknown>>();

  async function takeOne<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = last.get(name);
    const mine = before === undefined ? work() : before.then(work, work);
    last.set(name, mine);
    try {
      return await mine;
    } finally {
      if (last.get(name) === mine) last.delete(name);
    }
  }

  return {
    take(names, work) {
      let run = work;
      // Always in the same order, so that two callers never wait for each other.
      for (const name of [...new Set(names)].sort().reverse()) {
        const inner = run;
        run = () => takeOne(name, inner);
      }
      return run();
    },
  };
}
