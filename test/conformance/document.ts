/**
 * Writes docs/reference/s3-compatibility.md: `node test/conformance/document.ts [REPORT]`. REPORT is what
 * `--report` of the conformance runner wrote; it replaces the kept summary. Without it only the tables are
 * made again.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compatibilityDocument, type LastRun, lastRunOf } from './compatibility.ts';
import { readReasons } from './reasons.ts';
import type { Case } from './verdict.ts';

const here = dirname(fileURLToPath(import.meta.url));
const kept = join(here, 'last-run.json');
const target = join(here, '..', '..', 'docs', 'reference', 's3-compatibility.md');

const report = process.argv[2];
const reasons = readReasons();
if (report !== undefined) {
  const { suite, cases } = JSON.parse(readFileSync(report, 'utf8')) as {
    suite: LastRun['suite'];
    cases: Case[];
  };
  const run = lastRunOf(suite.revision, cases, reasons);
  writeFileSync(kept, `${JSON.stringify(run, null, 1)}\n`);
}
const run = JSON.parse(readFileSync(kept, 'utf8')) as LastRun;
writeFileSync(target, compatibilityDocument(run, reasons));
