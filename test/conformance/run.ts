/**
 * `npm run test:conformance -- PATH_TO_S3_TESTS`: the public suite ceph/s3-tests (test_s3.py and
 * test_headers.py) against an Ashlar of its own. Prints counts per area and marker and every case that
 * did not pass; exit code 0 when the targets of `verdict.ts` hold, 1 when not, 2 when it could not run.
 *
 *   --filter TEXT     only cases that match, as pytest's -k; the targets are not judged then
 *   --jobs N          Python processes (3); as many again, times four, for cases that only wait
 *   --timeout N       seconds for one case (300)
 *   --report FILE     the whole result as JSON
 *   --python PATH     a Python that has the suite's packages; otherwise an environment is made
 *   --verbose         show pytest's own output and the server's log: for one case
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startCluster } from '../support/cluster.ts';
import { serverSettings, suiteConfiguration } from './settings.ts';
import { CannotRun, checkSuite, preparePython, revisionOf, runSuite } from './suite.ts';
import { readReasons } from './reasons.ts';
import { areasOf, type Case, holds, isInside, type Reasons, shareOf } from './verdict.ts';

/** Cases of this marker sleep most of their time. */
const WAITING = 'lifecycle or lifecycle_expiration or lifecycle_transition';
const WAITING_FACTOR = 4;
/** Cases that count all buckets of an account: nothing else may run beside them. */
const ALONE = 'test_list_buckets_paginated';

interface Options {
  folder: string;
  filter: string | undefined;
  jobs: number;
  timeoutSeconds: number;
  report: string | undefined;
  python: string | undefined;
  verbose: boolean;
}

function optionsOf(args: string[]): Options {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      filter: { type: 'string' },
      jobs: { type: 'string', default: '3' },
      timeout: { type: 'string', default: '300' },
      report: { type: 'string' },
      python: { type: 'string' },
      verbose: { type: 'boolean', default: false },
    },
  });
  const [folder, ...others] = positionals;
  if (folder === undefined || others.length > 0) {
    throw new CannotRun(
      'Give the path of a copy of ceph/s3-tests: npm run test:conformance -- PATH_TO_S3_TESTS [--filter TEXT] [--jobs N] [--timeout SECONDS] [--report FILE] [--python PATH] [--verbose]',
    );
  }
  return {
    folder: resolve(folder),
    filter: values.filter,
    jobs: bounded('jobs', values.jobs, 32),
    timeoutSeconds: bounded('timeout', values.timeout, 3600),
    report: values.report,
    python: values.python,
    verbose: values.verbose,
  };
}

function bounded(name: string, text: string, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new CannotRun(`--${name} is a number from 1 to ${most}.`);
}

async function runAll(options: Options): Promise<Case[]> {
  checkSuite(options.folder);
  const python = preparePython(options.folder, options.python);
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-conformance-'));
  try {
    const settings = join(folder, 'ashlar.json');
    writeFileSync(settings, JSON.stringify(serverSettings()));
    const cluster = await startCluster({
      folder,
      args: ['--config', settings],
      startTimeoutMs: 60_000,
    });
    try {
      const { hostname, port } = new URL(cluster.ready().s3);
      const configuration = join(folder, 's3tests.conf');
      writeFileSync(configuration, suiteConfiguration({ host: hostname, port: Number(port) }));
      let done = 0;
      const part = (
        name: string,
        marker: string,
        jobs: number,
        names = `not (${ALONE})`,
      ): Promise<Case[]> =>
        runSuite({
          ...options,
          filter: options.filter === undefined ? names : `(${options.filter}) and ${names}`,
          python,
          configuration,
          marker,
          jobs,
          report: join(folder, `${name}.jsonl`),
          onCase: (one) => {
            done++;
            if (one.outcome === 'failed') console.log(`FAILED ${one.id} ${shortReason(one)}`);
            if (done % 50 === 0) console.log(`... ${done} cases done`);
          },
        });
      const parts = await Promise.all([
        part('working', `not (${WAITING})`, options.jobs),
        part('waiting', WAITING, options.filter === undefined ? options.jobs * WAITING_FACTOR : 1),
      ]);
      const alone = await part('alone', `not (${WAITING})`, 1, `(${ALONE})`);
      if (options.verbose) console.log(cluster.output());
      return [...parts.flat(), ...alone].sort((a, b) => (a.id < b.id ? -1 : 1));
    } finally {
      await cluster.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function shortReason({ phase, reason, where }: Case): string {
  const place = where ?? phase ?? '';
  return `[${place}] ${(reason ?? '').slice(0, 160)}`;
}

function print(cases: readonly Case[], reasons: Reasons): void {
  const failed = cases.filter((one) => one.outcome === 'failed');
  for (const inside of [true, false]) {
    const list = failed.filter((one) => isInside(one, reasons) === inside);
    if (list.length === 0) continue;
    console.log(`\n${list.length} not passed${inside ? '' : ' (beyond the S3 API: not judged)'}:`);
    for (const one of list) {
      const known = reasons[one.id] === undefined ? '' : ' (explained)';
      console.log(`  ${one.id}${known} ${shortReason(one)}`);
    }
  }
  console.log('\narea                               passed failed skipped   share  target');
  for (const area of areasOf(cases, reasons)) {
    const { count, target } = area;
    const share = `${(shareOf(count) * 100).toFixed(1)} %`;
    const aim = target === undefined ? '' : `${target * 100} % ${holds(area) ? 'holds' : 'MISSED'}`;
    console.log(
      `${area.name.padEnd(34)} ${[count.passed, count.failed, count.skipped].map((n) => String(n).padStart(6)).join(' ')}  ${share.padStart(7)}  ${aim}`,
    );
  }
}

async function main(): Promise<number> {
  const options = optionsOf(process.argv.slice(2));
  const cases = await runAll(options);
  if (cases.length === 0) throw new CannotRun('No case of the suite matched.');
  const reasons = readReasons();
  print(cases, reasons);
  if (options.report !== undefined) {
    const result = { suite: { revision: revisionOf(options.folder) ?? null }, cases };
    writeFileSync(options.report, `${JSON.stringify(result, null, 1)}\n`);
  }
  if (options.filter !== undefined) return cases.some((one) => one.outcome === 'failed') ? 1 : 0;
  return areasOf(cases, reasons).every(holds) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof CannotRun)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
