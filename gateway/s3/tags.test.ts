import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Tag } from '../../meta/protocol.ts';
import { type ErrorCode, S3Error } from './errors.ts';
import {
  checkTags,
  decodeBucketTags,
  encodeBucketTags,
  parseTaggingHeader,
  replacesTags,
} from './tags.ts';
import { readTagging, tagging } from './xml/tagging.ts';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

const many = (count: number): Tag[] =>
  Array.from({ length: count }, (_, index) => ({ key: `k${index}`, value: '' }));

test('x-amz-tagging is read as a query string is', () => {
  assert.equal(parseTaggingHeader(undefined), undefined);
  assert.equal(parseTaggingHeader(''), undefined);
  assert.deepEqual(parseTaggingHeader('a=1&b=&c&d=x%3Dy&e+f=%C3%A9+%2B=g'), [
    { key: 'a', value: '1' },
    { key: 'b', value: '' },
    { key: 'c', value: '' },
    { key: 'd', value: 'x=y' },
    { key: 'e f', value: 'é +=g' },
  ]);
});

test('x-amz-tagging that is no list of tags is refused', () => {
  for (const header of ['a=%zz', 'a=%ff', 'a=1&a=2']) {
    assert.throws(() => parseTaggingHeader(header), isCode('InvalidArgument'), header);
  }
  for (const header of ['=1', 'a=1&', 'a=%3Cb%3E', 'aws:a=1', '&']) {
    assert.throws(
      () => parseTaggingHeader(header),
      (error) => error instanceof S3Error,
      header,
    );
  }
  const eleven = many(11).map(({ key }) => `${key}=x`);
  assert.equal(parseTaggingHeader(eleven.slice(1).join('&'))?.length, 10);
  assert.throws(() => parseTaggingHeader(eleven.join('&')), isCode('InvalidTag'));
});

test('whatever x-amz-tagging holds, it is tags that can be or an S3 error', () => {
  const piece = fc.oneof(
    fc.constantFrom('&', '=', '+', '%', '%20', '%C3%A9', '%ff', 'aws:', 'k'.repeat(129)),
    fc.string({ maxLength: 5 }),
  );
  const header = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
  fc.assert(
    fc.property(header, (text) => {
      try {
        checkTags(parseTaggingHeader(text) ?? [], 'object');
      } catch (error) {
        assert.ok(error instanceof S3Error && error.status === 400);
      }
    }),
    { numRuns: 1000 },
  );
});

test('tags keep to their number, their lengths in UTF-16 units, their characters', () => {
  checkTags(many(10), 'object');
  checkTags(many(50), 'bucket');
  checkTags([{ key: '𝒜'.repeat(64), value: 'é'.repeat(256) }], 'object');
  checkTags([{ key: 'Ab 1_.:/=+-@', value: 'ж 漢\u00a0٣' }], 'object');
  const wrong: [Tag[], 'object' | 'bucket'][] = [
    [many(11), 'object'],
    [many(51), 'bucket'],
    [[{ key: '', value: 'x' }], 'object'],
    [[{ key: 'k'.repeat(129), value: '' }], 'object'],
    [[{ key: '𝒜'.repeat(65), value: '' }], 'object'],
    [[{ key: 'k', value: 'v'.repeat(257) }], 'object'],
    [[{ key: 'a*', value: '' }], 'bucket'],
    [[{ key: 'a', value: 'x\ny' }], 'object'],
    [[{ key: 'AWS:x', value: '' }], 'bucket'],
    [[...many(1), ...many(1)], 'object'],
  ];
  for (const [tags, tagged] of wrong) {
    assert.throws(() => checkTags(tags, tagged), isCode('InvalidTag'), JSON.stringify(tags));
  }
});

test('the largest tag set of a bucket fits where it is kept', () => {
  const tags = Array.from({ length: 50 }, (_, index) => ({
    key: `${index}`.padStart(128, '漢'),
    value: '漢'.repeat(256),
  }));
  checkTags(tags, 'bucket');
  const text = encodeBucketTags(tags);
  assert.ok(Buffer.byteLength(text) <= 60 * 1024);
  assert.deepEqual(decodeBucketTags(text), tags);
});

test('the tagging directive is COPY or REPLACE', () => {
  assert.equal(replacesTags(undefined), false);
  assert.equal(replacesTags('COPY'), false);
  assert.equal(replacesTags('REPLACE'), true);
  assert.throws(() => replacesTags('copy'), isCode('InvalidArgument'));
});

test('Tagging reads back exactly as it was written', () => {
  const word = fc
    .string({ unit: 'grapheme', maxLength: 10 })
    .filter((text) => !text.includes('\0'));
  fc.assert(
    fc.property(fc.dictionary(word, word, { maxKeys: 5 }), (tags) => {
      const pairs = Object.entries(tags).sort(([left], [right]) => (left < right ? -1 : 1));
      const read = readTagging(tagging(pairs.map(([key, value]) => ({ key, value }))));
      assert.deepEqual(
        read.map(({ key, value }) => [key, value]),
        pairs,
      );
    }),
  );
});

test('Tagging of another shape is MalformedXML', () => {
  assert.deepEqual(readTagging('<Tagging><TagSet/></Tagging>'), []);
  for (const xml of [
    '<Tagging/>',
    '<Tagging><TagSet>x</TagSet></Tagging>',
    '<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>',
    '<Tagging><TagSet><Tag><Value>a</Value></Tag></TagSet></Tagging>',
    '<Tagging><TagSet><Tag><Key>a</Key><Key>b</Key><Value>a</Value></Tag></TagSet></Tagging>',
    '<Tagging><TagSet><Tag><Key>a</Key><Value>a</Value><X/></Tag></TagSet></Tagging>',
    '<Tagging><TagSet/><TagSet/></Tagging>',
    '<Tagging><Tag><Key>a</Key><Value>a</Value></Tag></Tagging>',
  ]) {
    assert.throws(() => readTagging(xml), isCode('MalformedXML'), xml);
  }
});
