/** `ashlar fsck`: the metadata against the nodes, in both directions. */
import { systemClock } from '../../base/clock.ts';
import { EXIT } from '../../base/lifecycle.ts';
import type { FsckReport } from '../../meta/admin-protocol.ts';
import type { Operator } from './connect.ts';
import { VerbError } from './exit.ts';
import { count } from './format.ts';
import type { Paint } from './paint.ts';
import { bar, type Screen } from './screen.ts';
import { columns } from './table.ts';

const POLL_MS = 300;

/** Exit code 0: nothing was found; 1: something was, or not all nodes could be asked. */
export async function runFsck(operator: Operator, screen: Screen, repair: boolean): Promise<void> {
  let report = await operator.admin.startFsck({ repair }, operator.call);
  while (report.state === 'running') {
    screen.progress(`${bar(report.progress)}  ${count(report.checked.blocks)} blocks checked`);
    await systemClock.sleep(POLL_MS);
    report = await operator.admin.fsckReport(operator.call);
  }
  screen.progressDone();
  if (report.state === 'failed') {
    throw new VerbError(`The check could not be finished: ${report.problem ?? 'no reason given'}`);
  }
  const clean = findingsOf(report) === 0 && report.unreachable.length === 0;
  if (!clean) process.exitCode = EXIT.failed;
  screen.show(report, () => fsckLines(report, repair, screen.paint));
}

const findingsOf = ({ findings }: FsckReport): number =>
  Object.values(findings).reduce((sum, value) => sum + value, 0);

const MEANING: Readonly<Record<keyof FsckReport['findings'], string>> = {
  missing: 'replicas that a node does not have',
  corrupt: 'replicas whose bytes do not match',
  surplus: 'replicas on a node that is not one of their group',
  orphaned: 'blocks that no object refers to',
  lost: 'blocks without any good replica',
  metadata: 'rows of the metadata that contradict each other',
};

export function fsckLines(report: FsckReport, repair: boolean, paint: Paint): string[] {
  const { blobs, blocks, replicas } = report.checked;
  const found = Object.entries(report.findings).filter(([, value]) => value > 0);
  const rows = found.map(([name, value]) => [
    name === 'lost' ? paint.bad(name) : paint.warn(name),
    count(value),
    MEANING[name as keyof FsckReport['findings']],
  ]);
  return [
    `Checked ${count(blobs)} blobs, ${count(blocks)} blocks, ${count(replicas)} replicas.`,
    ...(report.unreachable.length > 0
      ? [paint.warn(`Not asked, because they do not answer: ${report.unreachable.join(', ')}.`)]
      : []),
    ...(rows.length === 0 ? [paint.good('Nothing is wrong.')] : columns(rows, [1])),
    ...report.samples.map((sample) => `  ${sample}`),
    ...(rows.length === 0
      ? []
      : [
          repair
            ? `Repaired or queued for repair: ${count(report.repaired)}.`
            : 'Run `ashlar fsck --repair` to mend what can be mended.',
        ]),
  ];
}
