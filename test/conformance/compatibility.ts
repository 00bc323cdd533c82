/** The document `docs/reference/s3-compatibility.md`, made from tables. Pure. */
import { SUB_RESOURCES } from '../../gateway/s3/detect.ts';
import { OPERATION_NAMES } from '../../gateway/s3/operation.ts';
import { areasOf, type Case, isInside, type Reasons, shareOf } from './verdict.ts';

/** What is kept of the last run: enough for the document, small enough to be read in a review. */
export interface LastRun {
  suite: { revision: string | null };
  areas: { name: string; passed: number; failed: number; skipped: number; target?: number }[];
  /** Failed and skipped cases. */
  others: Pick<Case, 'id' | 'markers' | 'outcome' | 'reason'>[];
}

export function lastRunOf(
  revision: string | null,
  cases: readonly Case[],
  reasons: Reasons,
): LastRun {
  const areas = areasOf(cases, reasons).flatMap(({ name, count, target }) =>
    name.startsWith('marker ') ? [] : [{ name, ...count, ...(target !== undefined && { target }) }],
  );
  const others = cases
    .filter(({ outcome }) => outcome !== 'passed')
    .map(({ id, markers, outcome, reason }) => ({
      id,
      markers,
      outcome,
      ...(outcome === 'skipped' && reason !== undefined ? { reason } : {}),
    }));
  return { suite: { revision }, areas, others };
}

/** S3's operations of general purpose buckets that no sub-resource tells. */
const PLAIN: readonly string[] = [
  'ListBuckets',
  'CreateBucket',
  'HeadBucket',
  'DeleteBucket',
  'ListObjects',
  'ListObjectsV2',
  'PostObject',
  'GetObject',
  'HeadObject',
  'PutObject',
  'CopyObject',
  'DeleteObject',
  'UploadPartCopy',
  'ListDirectoryBuckets',
];

/** Why an operation is not there, where there is more to say than that. */
const ABSENT: Readonly<Record<string, string>> = {
  CreateSession: 'directory buckets do not exist here',
  ListDirectoryBuckets: 'directory buckets do not exist here',
  GetObjectTorrent: 'S3 has withdrawn it',
  SelectObjectContent: 'S3 no longer offers it to new customers',
  RestoreObject: 'nothing is archived',
};

/** The table of operations: between the marks of the document, and held against it by a test. */
export function operationTable(): string {
  const known = new Set<string>(OPERATION_NAMES);
  const names = new Set(PLAIN);
  for (const place of [SUB_RESOURCES.bucket, SUB_RESOURCES.object]) {
    for (const methods of Object.values(place)) {
      for (const name of Object.values(methods)) names.add(name.replace('!', ''));
    }
  }
  for (const name of known) names.add(name);
  const rows = [...names].sort().map((name) => {
    const state = known.has(name) ? 'yes' : 'NotImplemented';
    return `| ${name} | ${state} | ${known.has(name) ? '' : (ABSENT[name] ?? '')} |`;
  });
  return ['| operation | state | |', '|---|---|---|', ...rows].join('\n');
}

export const OPERATIONS_BEGIN = '<!-- operations: made by test/conformance/document.ts -->';
export const OPERATIONS_END = '<!-- end of operations -->';

const KINDS: Readonly<Record<string, string>> = {
  s3: 'S3 answers otherwise',
  ceph: "an extension of Ceph's gateway",
  suite: 'the case cannot pass on any server',
  refused: 'refused on purpose',
};

export function compatibilityDocument(run: LastRun, reasons: Reasons): string {
  const failed = run.others.filter(({ outcome }) => outcome === 'failed');
  const judged = failed.filter((one) => isInside(one, reasons));
  const beside = failed.filter((one) => !isInside(one, reasons));
  const skipped = run.others.filter(({ outcome }) => outcome === 'skipped');
  return `${[
    '# What of S3 there is',
    '',
    'Made by `node test/conformance/document.ts` from the table of operations and the last run of the conformance suite.',
    'What is not there answers `NotImplemented` (501) by name; nothing is stored and ignored.',
    '',
    '## Operations',
    '',
    OPERATIONS_BEGIN,
    '',
    operationTable(),
    '',
    OPERATIONS_END,
    '',
    ...DIFFERENCES,
    '',
    '## The public suite ceph/s3-tests',
    '',
    `\`npm run test:conformance -- PATH_TO_S3_TESTS\` runs \`test_s3.py\` and \`test_headers.py\`${run.suite.revision === null ? '' : ` (revision ${run.suite.revision.slice(0, 12)})`}.`,
    'Judged is what concerns S3 itself: without bucket logging, accounts and other extensions as only Ceph has them, without',
    'transition to another cloud, and without cases of which the suite itself says that they fail on AWS (`fails_on_aws`) and that',
    'ask for something else than S3 does, or that they do not work (`fails_on_rgw`) and that cannot pass on any server. Those are',
    'listed below all the same, and the row "by markers alone" counts them.',
    '',
    '| area | passed | failed | skipped | share | target |',
    '|---|---:|---:|---:|---:|---:|',
    ...run.areas.map(
      ({ name, passed, failed: bad, skipped: none, target }) =>
        `| ${name} | ${passed} | ${bad} | ${none} | ${(shareOf({ passed, failed: bad, skipped: none }) * 100).toFixed(1)} % | ${target === undefined ? '' : `${target * 100} %`} |`,
    ),
    '',
    '### Not passed',
    '',
    ...caseTable(judged, reasons),
    '',
    '### Not passed and not judged',
    '',
    ...caseTable(beside, reasons),
    '',
    '### Skipped by the suite',
    '',
    ...skippedTable(skipped),
  ].join('\n')}\n`;
}

function caseTable(cases: readonly Pick<Case, 'id' | 'markers'>[], reasons: Reasons): string[] {
  if (cases.length === 0) return ['None.'];
  return [
    '| case | | why |',
    '|---|---|---|',
    ...cases.map(({ id, markers }) => {
      const [kind = '', why = ''] = reasons[id] ?? markerReason(markers);
      return `| \`${id.replace(/^.*::/, '')}\` | ${KINDS[kind] ?? kind} | ${why} |`;
    }),
  ];
}

/** For the many cases of what only Ceph has. */
function markerReason(markers: readonly string[]): [string, string] {
  if (markers.includes('bucket_logging')) {
    return [
      'ceph',
      "bucket logging as Ceph has it: the target's policy names the source's account by a user id, where S3 has the account's number",
    ];
  }
  return ['', 'not explained yet'];
}

/** Skipped for one reason each, many cases at a time. */
function skippedTable(cases: readonly Pick<Case, 'reason'>[]): string[] {
  if (cases.length === 0) return ['None.'];
  const counts = new Map<string, number>();
  for (const { reason = '' } of cases) {
    const why = reason.replace(/^Skipped: /, '');
    counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  return [
    '| cases | because |',
    '|---:|---|',
    ...[...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([why, count]) => `| ${count} | ${why} |`),
  ];
}

const DIFFERENCES: readonly string[] = [
  '## Where Ashlar differs from AWS',
  '',
  'Beside what `gateway/README.md` lists under "Decisions that a client can notice":',
  '',
  '- **RenameObject** works on every bucket. Without versioning the object keeps its time and everything else; with versioning the',
  '  new key gets a version and the old one a delete marker, in one commit. `x-amz-rename-source` is a key of the same bucket,',
  '  with or without a slash in front; `/BUCKET/KEY` is understood. Client tokens are remembered for a day.',
  '- **Appends** (`x-amz-write-offset-bytes`) work on every bucket without versioning, on objects that are not encrypted and have a',
  '  full-object CRC (which all have by default) or none. Each append is a part, up to 10,000; the ETag changes with each. Headers',
  '  that describe the object are for the request that creates it. Of an object whose parts are shared with a copy up to 500 parts',
  '  can be appended to.',
  '- **Requester Pays** is honoured: others than the owner must say `x-amz-request-payer: requester`. Nobody is billed.',
  '- **Quotas** (`ashlar bucket quota`) are answered by QuotaExceeded (403), as other stores do; AWS has none.',
  '- **Checksums**: a checksum header that cannot be a digest is BadDigest (AWS: InvalidRequest). CompleteMultipartUpload takes a',
  "  list without the parts' checksums also for composite ones. GetObjectAttributes shows a composite checksum with its `-N`.",
  '- **Part numbers**: reading one that the object does not have is 400 InvalidPart (AWS: 416 InvalidPartNumber). A part that the list',
  '  of CompleteMultipartUpload names twice in a row counts as it is named last.',
  '- **Conditional deletes** judge `x-amz-if-match-size` and `x-amz-if-match-last-modified-time` on every bucket (AWS: directory',
  '  buckets), a delete marker included. Deleting a version by its id succeeds when it is gone already, whatever the condition.',
  '- **NoSuchKey** says `x-amz-delete-marker: false` where there is no delete marker; AWS leaves the header out.',
  '- **ListObjects** with `encoding-type=url` shows the prefix with only that encoded which must be: some clients decode it, boto3',
  '  does not.',
];
