/** The verbs of the background jobs: `ashlar repair|rebalance|scrub|gc status|run|pause|resume`. */
import { systemClock } from '../../base/clock.ts';
import { byteSize } from '../../base/config.ts';
import { EXIT } from '../../base/lifecycle.ts';
import type { JobName, JobStatus } from '../../meta/admin-protocol.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import type { Screen } from './screen.ts';
import { jobTable } from './status.ts';

/** Bytes per second of `50MiB`; undefined: leave it as it is. */
export function parseRate(text: unknown): number | undefined {
  if (text === undefined) return undefined;
  const parsed = byteSize().safeParse(text);
  if (parsed.success) return parsed.data;
  throw new VerbError('--rate: expected a size per second such as 50MiB, or 0.', EXIT.usage);
}

export async function showJobs(
  operator: Operator,
  screen: Screen,
  names: readonly JobName[],
): Promise<void> {
  const jobs = await operator.admin.jobs(operator.call);
  print(
    screen,
    jobs.filter(({ name }) => names.includes(name)),
  );
}

export async function controlJobs(
  operator: Operator,
  screen: Screen,
  command: {
    names: readonly JobName[];
    action: 'run' | 'pause' | 'resume';
    rate?: number | undefined;
  },
): Promise<void> {
  const { names, action, rate } = command;
  const statuses: JobStatus[] = [];
  for (const name of await present(operator, names)) {
    const control = rate === undefined ? { name, action } : { name, action, rate };
    statuses.push(await operator.admin.controlJob(control, operator.call));
  }
  print(screen, statuses);
}

/** A verb for several jobs is for those that there are: without a journal it has no scrub. */
async function present(operator: Operator, names: readonly JobName[]): Promise<readonly JobName[]> {
  if (names.length === 1) return names;
  const there = new Set((await operator.admin.jobs(operator.call)).map(({ name }) => name));
  return names.filter((name) => there.has(name));
}

function print(screen: Screen, jobs: readonly JobStatus[]): void {
  screen.show(jobs, () => jobTable(jobs, screen.paint, systemClock.now()));
}
