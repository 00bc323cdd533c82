import { BUCKETS_MAX, type Bucket, LIST_PAGE_MAX } from '../../../meta/protocol.ts';
import { type Context, defineOperation } from '../operation.ts';
import {
  decodeToken,
  encodeToken,
  integerParameter,
  invalidArgument,
  nameParameter,
} from '../parameters.ts';
import {
  type ListAllMyBucketsResult,
  listAllMyBucketsResult,
} from '../xml/list-all-my-buckets-result.ts';
import { xmlReply } from '../xml/reply.ts';

interface Input {
  prefix: string | undefined;
  limit: number;
  after: string | undefined;
  region: string | undefined;
  /** Some parameter was sent: the answer then names regions. */
  parameters: boolean;
}

const PARAMETERS = ['prefix', 'max-buckets', 'continuation-token', 'bucket-region'];

/** ListBuckets: all buckets of who asks, or a page of them, in name order; nobody has none. */
export const listBuckets = defineOperation<Input, ListAllMyBucketsResult>({
  name: 'ListBuckets',
  permission: 's3:ListAllMyBuckets',
  body: 'none',
  query: PARAMETERS,
  parse({ query }) {
    const limit = integerParameter(query, 'max-buckets') ?? BUCKETS_MAX;
    if (limit < 1 || limit > BUCKETS_MAX) {
      throw invalidArgument(
        'max-buckets',
        String(limit),
        `Argument max-buckets must be an integer between 1 and ${BUCKETS_MAX}`,
      );
    }
    const token = query.get('continuation-token') ?? '';
    return {
      prefix: nameParameter(query, 'prefix'),
      limit,
      after: token === '' ? undefined : decodeToken(token),
      region: query.get('bucket-region'),
      parameters: PARAMETERS.some((name) => query.has(name)),
    };
  },
  async execute(input, context) {
    // All buckets are in the region of the cluster.
    const elsewhere = input.region !== undefined && input.region !== context.region;
    const page = elsewhere ? { buckets: [] } : await readBuckets(input, context);
    return {
      owner: context.account,
      buckets: page.buckets,
      withRegion: input.parameters,
      prefix: input.prefix,
      continuationToken: page.next === undefined ? undefined : encodeToken(page.next),
    };
  },
  serialize: (result) => xmlReply(listAllMyBucketsResult(result)),
});

async function readBuckets(
  input: Input,
  { meta, account, signal }: Context,
): Promise<{ buckets: Bucket[]; next?: string | undefined }> {
  const buckets: Bucket[] = [];
  let after = input.after;
  do {
    const limit = Math.min(input.limit - buckets.length, LIST_PAGE_MAX);
    const page = await meta.listBuckets(
      { prefix: input.prefix ?? '', after, limit, owner: account.id },
      { signal },
    );
    buckets.push(...page.buckets);
    after = page.next;
  } while (after !== undefined && buckets.length < input.limit);
  return { buckets, next: after };
}
