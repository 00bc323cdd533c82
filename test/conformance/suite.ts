/** The public suite ceph/s3-tests in its own Python processes: finding, preparing and running it. */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Case } from './verdict.ts';

const FILES = ['s3tests/functional/test_s3.py', 's3tests/functional/test_headers.py'];
const EXTRA_PACKAGES = ['pytest-xdist', 'pytest-timeout'];
const HERE = dirname(fileURLToPath(import.meta.url));

/** Something that the user has to put right; its message says what. */
export class CannotRun extends Error {}

/** Throws CannotRun unless the folder holds the suite. */
export function checkSuite(folder: string): void {
  const missing = FILES.find((file) => !existsSync(join(folder, file)));
  if (missing === undefined) return;
  throw new CannotRun(
    `${folder} is not a copy of ceph/s3-tests: ${missing} is not there. Clone https://github.com/ceph/s3-tests and give its path.`,
  );
}

/** The suite's revision, or undefined when the folder is not a clone. */
export function revisionOf(folder: string): string | undefined {
  if (!existsSync(join(folder, '.git'))) return undefined;
  const git = spawnSync('git', ['-C', folder, 'rev-parse', 'HEAD'], { encoding: 'utf8' });
  return git.status === 0 ? git.stdout.trim() : undefined;
}

/**
 * A Python that has what the suite needs: the given one, or that of an environment which is made
 * once per set of requirements, in the user's cache folder.
 */
export function preparePython(folder: string, given: string | undefined): string {
  if (given !== undefined) {
    const check = spawnSync(given, ['-c', 'import boto3, munch, pytest, xdist, pytest_timeout']);
    if (check.status === 0) return given;
    throw new CannotRun(
      `${given} cannot run the suite: it needs the packages of requirements.txt, ${EXTRA_PACKAGES.join(' and ')}.`,
    );
  }
  const requirements = join(folder, 'requirements.txt');
  const hash = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 12);
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const environment = join(cache, 'ashlar', `s3-tests-${hash}`);
  const python = join(environment, 'bin', 'python');
  const complete = join(environment, 'complete');
  if (existsSync(complete)) return python;
  console.log(`Making a Python environment for the suite in ${environment} (once) ...`);
  rmSync(environment, { recursive: true, force: true });
  mkdirSync(dirname(environment), { recursive: true });
  const steps = [
    ['python3', '-m', 'venv', environment],
    [python, '-m', 'pip', 'install', '--quiet', '-r', requirements, ...EXTRA_PACKAGES],
  ];
  for (const [command = '', ...args] of steps) {
    const step = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (step.status === 0) continue;
    throw new CannotRun(
      `The suite's Python environment cannot be made: \`${command} ${args.join(' ')}\` failed. It needs python3 with venv, and a package index; or give a prepared Python with --python.`,
    );
  }
  writeFileSync(complete, '');
  return python;
}

export interface SuiteRun {
  folder: string;
  python: string;
  /** The suite's configuration file. */
  configuration: string;
  /** pytest's `-k` and `-m`. */
  filter: string;
  marker: string;
  jobs: number;
  timeoutSeconds: number;
  /** File for the plugin's lines. */
  report: string;
  onCase: (one: Case) => void;
  /** Shows what pytest prints, for one failing case in depth. */
  verbose: boolean;
}

/** Exit code of pytest when its filter matched nothing. */
const NOTHING_COLLECTED = 5;

/** Runs a part of the suite to its end; the cases that finished. Throws CannotRun when pytest broke down. */
export async function runSuite(run: SuiteRun): Promise<Case[]> {
  writeFileSync(run.report, '');
  const args = ['-m', 'pytest', '-p', 'ashlar_report', '-p', 'no:cacheprovider', '-q', '-rN'];
  args.push('--no-header', run.verbose ? '--tb=long' : '--tb=short', '-m', run.marker);
  args.push('-n', String(run.jobs), '--dist', 'worksteal');
  args.push('--timeout', String(run.timeoutSeconds));
  args.push('-k', run.filter, ...FILES);
  const child = spawn(run.python, args, {
    cwd: run.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      LANG: 'C.UTF-8',
      PYTHONPATH: HERE,
      PYTHONDONTWRITEBYTECODE: '1',
      S3TEST_CONF: run.configuration,
      ASHLAR_REPORT: run.report,
      // What the user has configured for a real cloud must not reach the suite.
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_DEFAULT_REGION: 'us-east-1',
    },
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString('utf8')).slice(-200_000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  let seen = 0;
  const cases: Case[] = [];
  const takeIn = (): void => {
    const lines = readFileSync(run.report, 'utf8').split('\n');
    // The last one is empty, or not whole yet.
    for (const line of lines.slice(seen, -1)) {
      const one = JSON.parse(line) as Case;
      cases.push(one);
      run.onCase(one);
    }
    seen = lines.length - 1;
  };
  const ticker = setInterval(takeIn, 1000);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(ticker));
  takeIn();
  if (run.verbose) console.log(output);
  if (code !== 0 && code !== 1 && code !== NOTHING_COLLECTED) {
    throw new CannotRun(`pytest ended with code ${code}:\n${output.slice(-4000)}`);
  }
  return cases;
}
