import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const RUN = join(dirname(fileURLToPath(import.meta.url)), 'run.ts');

function run(...args: string[]): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [RUN, ...args], { encoding: 'utf8' });
  return { status, stderr };
}

/** A folder that looks like the suite, without a case in it. */
function hollowSuite(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ashlar-suite-'));
  mkdirSync(join(folder, 's3tests', 'functional'), { recursive: true });
  for (const name of ['test_s3.py', 'test_headers.py']) {
    writeFileSync(join(folder, 's3tests', 'functional', name), '');
  }
  return folder;
}

test('without a path the runner says how it is called', () => {
  const { status, stderr } = run();
  assert.equal(status, 2);
  assert.match(stderr, /^Give the path of a copy of ceph\/s3-tests: npm run test:conformance/);
});

test('a folder that is not the suite is refused with what is missing', () => {
  const { status, stderr } = run(tmpdir());
  assert.equal(status, 2);
  assert.match(
    stderr,
    /is not a copy of ceph\/s3-tests: s3tests\/functional\/test_s3.py is not there/,
  );
});

test('a Python that lacks the packages is refused by name', () => {
  const suite = hollowSuite();
  try {
    const { status, stderr } = run(suite, '--python', '/nowhere/python');
    assert.equal(status, 2);
    assert.match(stderr, /^\/nowhere\/python cannot run the suite: it needs the packages/);
  } finally {
    rmSync(suite, { recursive: true });
  }
});

test('numbers out of bounds are refused', () => {
  for (const [option, value] of [
    ['--jobs', '0'],
    ['--jobs', '33'],
    ['--timeout', 'soon'],
  ] as const) {
    const { status, stderr } = run(tmpdir(), option, value);
    assert.equal(status, 2);
    assert.match(stderr, new RegExp(`^${option} is a number from 1 to`));
  }
});
