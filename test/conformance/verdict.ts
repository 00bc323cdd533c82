/** What a run of the suite amounts to: counts per marker, and whether the targets hold. Pure. */

/** One finished case, as the plugin writes it. */
export interface Case {
  /** `test_s3.py::test_bucket_list_empty`. */
  id: string;
  markers: string[];
  outcome: 'passed' | 'failed' | 'skipped';
  seconds: number;
  phase?: 'setup' | 'call' | 'teardown';
  reason?: string;
  /** File and line in the suite. */
  where?: string | null;
}

export interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

export interface Area {
  name: string;
  count: Count;
  /** Smallest share of passed among passed and failed; undefined: counted, not judged. */
  target: number | undefined;
}

/** Markers of what only Ceph's gateway has, or what needs a second cloud to move objects to. */
const OUTSIDE: readonly string[] = [
  'appendobject',
  'bucket_logging',
  'bucket_logging_cleanup',
  'cloud_restore',
  'cloud_transition',
  'iam_account',
  'iam_cross_account',
  'iam_role',
  'iam_tenant',
  'iam_user',
  'target_by_bucket',
];

const AREAS: readonly { name: string; of: (one: Case) => boolean }[] = [
  { name: 'sse', of: (one) => has(one, 'encryption', 'sse_s3', 'bucket_encryption') },
  {
    name: 'lifecycle',
    of: (one) => has(one, 'lifecycle', 'lifecycle_expiration', 'lifecycle_transition'),
  },
  { name: 'versioning', of: (one) => has(one, 'versioning') || /version/.test(one.id) },
  {
    name: 'object-lock',
    of: (one) => has(one, 'object_lock') || /_object_lock_|_legal_hold/.test(one.id),
  },
  { name: 'policy', of: (one) => has(one, 'bucket_policy') },
  { name: 'post', of: (one) => /::test_post_object/.test(one.id) },
  { name: 'cors', of: (one) => /cors/.test(one.id) },
  { name: 'checksum', of: (one) => has(one, 'checksum') },
  {
    name: 'conditional-write',
    of: (one) =>
      has(one, 'conditional_write') ||
      /::test_(put|multipart_put)_object_if|_current_object_if/.test(one.id),
  },
];

const WHOLE_TARGET = 0.98;
const AREA_TARGET = 0.95;

function has(one: Pick<Case, 'markers'>, ...markers: string[]): boolean {
  return markers.some((marker) => one.markers.includes(marker));
}

/**
 * Why cases do not pass, by case. `s3`: S3 itself answers otherwise; `ceph`: it is about an extension
 * of Ceph's gateway; `suite`: it cannot pass on any server; `refused`: decided against.
 */
export type Reasons = Readonly<
  Record<string, readonly [kind: 's3' | 'ceph' | 'suite' | 'refused', why: string]>
>;

/**
 * Whether a case is about S3 itself. Beside the markers above it is written down, case by case, what is
 * about an extension of Ceph's gateway without saying so; what S3 does instead, where the suite itself
 * says `fails_on_aws`; and why a case cannot pass anywhere, where the suite says `fails_on_rgw`. Most
 * cases with these two marks pass all the same, and count.
 */
export function isInside(one: Pick<Case, 'id' | 'markers'>, reasons: Reasons): boolean {
  if (has(one, ...OUTSIDE)) return false;
  switch (reasons[one.id]?.[0]) {
    case 'ceph':
      return false;
    case 's3':
      return !has(one, 'fails_on_aws');
    case 'suite':
      return !has(one, 'fails_on_rgw');
    default:
      return true;
  }
}

export function countOf(cases: readonly Case[]): Count {
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const { outcome } of cases) count[outcome]++;
  return count;
}

/** Of those that ran; a skipped case says nothing either way. 1 when none ran. */
export function shareOf({ passed, failed }: Count): number {
  return passed + failed === 0 ? 1 : passed / (passed + failed);
}

/** The whole and its areas, each with its target; then every marker, for information. */
export function areasOf(cases: readonly Case[], reasons: Reasons): Area[] {
  const inside = cases.filter((one) => isInside(one, reasons));
  const markers = [...new Set(cases.flatMap((one) => one.markers))].sort();
  return [
    { name: 'S3 API', count: countOf(inside), target: WHOLE_TARGET },
    {
      name: 'S3 API, by markers alone',
      count: countOf(cases.filter((one) => !has(one, ...OUTSIDE))),
      target: undefined,
    },
    ...AREAS.map(({ name, of }) => ({
      name,
      count: countOf(inside.filter(of)),
      target: AREA_TARGET,
    })),
    ...markers.map((marker) => ({
      name: `marker ${marker}`,
      count: countOf(cases.filter((one) => has(one, marker))),
      target: undefined,
    })),
  ];
}

/** A target that no case was run for does not hold. */
export function holds({ count, target }: Area): boolean {
  if (target === undefined) return true;
  return count.passed + count.failed > 0 && shareOf(count) >= target;
}
