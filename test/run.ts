/**
 * `npm test` and its parts: runs the stages one after another, shows what they print, and ends with
 * one line that counts every check and test. Stages: check, unit, integration, sim, clients, crash;
 * chaos runs only when it is named.
 *
 *   node test/run.ts [STAGE ...]      no stage: all of them but chaos
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installTools } from './support/packages.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);
const CODE = ['base', 'storage-node', 'meta', 'gateway', 'cli', 'test'];

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Command {
  title: string;
  command: string;
  args: string[];
}

/** Tools whose exit code is one check each. */
const CHECKS: readonly Command[] = [
  { title: 'format', command: bin('biome'), args: ['format', '.'] },
  {
    title: 'lint',
    command: bin('oxlint'),
    args: ['--type-aware', '--deny-warnings', ...CODE],
  },
  { title: 'types', command: bin('tsc'), args: ['--noEmit', '-p', '.'] },
  { title: 'dead code', command: bin('knip'), args: [] },
];

/** Test stages: files, and how many files run at once. */
const SUITES: Readonly<Record<string, { files: string[]; concurrency: number }>> = {
  unit: {
    files: [
      ...CODE.filter((room) => room !== 'test').map((room) => `${room}/**/*.test.ts`),
      'test/*.test.ts',
      'test/conformance/*.test.ts',
    ],
    concurrency: 2,
  },
  integration: {
    files: ['test/integration/**/*.test.ts', 'test/wire/**/*.test.ts'],
    concurrency: 2,
  },
  // One file at a time: each uses all cores.
  sim: { files: ['test/simulation/**/*.test.ts'], concurrency: 1 },
  clients: { files: ['test/clients/**/*.test.ts'], concurrency: 1 },
  crash: { files: ['test/crash/**/*.test.ts'], concurrency: 1 },
  chaos: { files: ['test/chaos/**/*.test.ts'], concurrency: 1 },
};

/** Too long, and too random, for every run. */
const ONLY_WHEN_NAMED = new Set(['chaos']);

function run(command: string, args: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const show = (chunk: Buffer): void => {
      output += chunk.toString('utf8');
      process.stdout.write(chunk);
    };
    child.stdout.on('data', show);
    child.stderr.on('data', show);
    child.on('error', (error) => resolve({ code: 1, output: `${output}${error.message}` }));
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

async function runChecks(): Promise<Counts> {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { title, command, args } of CHECKS) {
    console.log(`\n== ${title}`);
    const { code } = await run(command, args);
    if (code === 0) counts.passed++;
    else counts.failed++;
  }
  return counts;
}

async function runSuite(name: string): Promise<Counts> {
  const suite = SUITES[name];
  if (suite === undefined)
    throw new Error(`unknown stage ${name}: check, ${Object.keys(SUITES).join(', ')}`);
  console.log(`\n== ${name}`);
  const files = suite.files.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
  const { code, output } = await run(process.execPath, [
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${suite.concurrency}`,
    ...files,
  ]);
  const count = (word: string): number =>
    Number(new RegExp(`^ℹ ${word} (\\d+)$`, 'm').exec(output)?.[1] ?? 0);
  const counts = {
    passed: count('pass'),
    failed: count('fail') + count('cancelled'),
    skipped: count('skipped'),
  };
  // A runner that dies without counting, or finds nothing to run, is a failure of its own.
  if ((code !== 0 && counts.failed === 0) || counts.passed + counts.failed === 0) counts.failed++;
  return counts;
}

/** What some unit and integration tests use when it is there; the client tests see to their own. */
const DEBIAN_TOOLS = [
  { path: '/usr/bin/strace', package: 'strace' },
  { path: '/usr/sbin/mkfs.ext4', package: 'e2fsprogs' },
];

const wanted = process.argv.slice(2);
const stages =
  wanted.length > 0
    ? wanted
    : ['check', ...Object.keys(SUITES).filter((name) => !ONLY_WHEN_NAMED.has(name))];
if (stages.includes('unit') || stages.includes('integration')) {
  const missing = installTools(DEBIAN_TOOLS);
  if (missing !== undefined) console.log(`\nSome tests will be skipped: ${missing}`);
}
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
for (const stage of stages) {
  const counts = stage === 'check' ? await runChecks() : await runSuite(stage);
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
