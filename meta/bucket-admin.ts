/** Buckets as operators see them: what they hold, what they may hold, and how to change that. */
import { Failure } from '../base/failure.ts';
import type { BucketInfo, MetaAdmin } from './admin-protocol.ts';
import type { Catalogue } from './catalogue/catalogue.ts';
import { decodeQuota, encodeQuota, QUOTA_CONFIG } from './catalogue/quota.ts';
import type { Answer, Bucket } from './protocol.ts';

/** Buckets of one answer. */
export const BUCKET_PAGE_MAX = 100;

type BucketAdmin = Pick<MetaAdmin, 'listBuckets' | 'bucketInfo' | 'setBucketQuota'>;

export function createBucketAdmin(
  catalogue: Pick<Catalogue, 'listBuckets' | 'bucketUsage' | 'getBucketConfig' | 'setBucketConfig'>,
): BucketAdmin {
  /** Undefined when the bucket went meanwhile. */
  async function infoOf(name: string): Promise<BucketInfo | undefined> {
    const found = await catalogue.getBucketConfig({ bucket: name, name: QUOTA_CONFIG });
    if (!found.ok) return undefined;
    const { bucket, value } = found.value;
    const usage = await catalogue.bucketUsage({ bucket: name });
    if (!usage.ok) return undefined;
    return { ...bucket, usage: usage.value, quota: value === undefined ? {} : decodeQuota(value) };
  }

  async function known(name: string): Promise<BucketInfo> {
    const info = await infoOf(name);
    if (info === undefined) throw noSuchBucket(name);
    return info;
  }

  return {
    async listBuckets({ prefix, after, limit }) {
      const page = await catalogue.listBuckets({
        prefix,
        after,
        limit: Math.min(limit, BUCKET_PAGE_MAX),
      });
      const infos = await Promise.all(page.buckets.map(({ name }: Bucket) => infoOf(name)));
      const buckets = infos.filter((info) => info !== undefined);
      return page.next === undefined ? { buckets } : { buckets, next: page.next };
    },
    bucketInfo: ({ bucket }) => known(bucket),
    async setBucketQuota({ bucket, bytes, objects }) {
      const value = encodeQuota({ bytes, objects });
      const config = { bucket, name: QUOTA_CONFIG };
      const answer: Answer<null> = await catalogue.setBucketConfig(
        value === undefined ? config : { ...config, value },
      );
      if (!answer.ok) {
        if (answer.refusal === 'NoSuchBucket') throw noSuchBucket(bucket);
        throw new Failure('conflict', `the bucket keeps changing (${answer.refusal}): try again`);
      }
      return known(bucket);
    },
  };
}

function noSuchBucket(name: string): Failure {
  return new Failure('not-found', `there is no bucket ${name}`);
}
