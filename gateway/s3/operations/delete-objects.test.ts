import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer, WriteCondition } from '../../../meta/protocol.ts';
import { type ErrorCode, S3Error } from '../errors.ts';
import type { RawReply } from '../request.ts';
import { deleteObjects } from './delete-objects.ts';
import { ok, refused, run, textOf } from './testing-context.ts';

function isCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof S3Error && error.code === code;
}

const HEADERS = { 'content-md5': 'verified by the pipeline' };

/** Answers every key as the table says, or with success. */
function deleting(outcomes: Record<string, Answer<{ existed: boolean }>> = {}) {
  const table = new Map(Object.entries(outcomes));
  const asked: { key: string; condition?: WriteCondition | undefined }[] = [];
  return {
    asked,
    meta: {
      deleteObjects: (command: { keys: typeof asked }) => {
        asked.push(...command.keys);
        return ok(
          command.keys.map(
            ({ key }) => table.get(key) ?? { ok: true as const, value: { existed: true } },
          ),
        );
      },
    },
  };
}

function body(...objects: string[]): string {
  return `<Delete>${objects.map((inner) => `<Object>${inner}</Object>`).join('')}</Delete>`;
}

function resultOf(reply: RawReply): string {
  const found = /<DeleteResult[^>]*>(.*)<\/DeleteResult>$/s.exec(textOf(reply));
  return found?.[1] ?? 'no result';
}

test('DeleteObjects deletes exactly the keys that were named', async () => {
  const { asked, meta } = deleting();
  const keys = ['0001', '1e5', ' a ', 'a&#x1;b', '__proto__'].map((key) => `<Key>${key}</Key>`);
  const reply = await run(deleteObjects, { headers: HEADERS, xml: body(...keys), meta });
  assert.deepEqual(
    asked.map(({ key }) => key),
    ['0001', '1e5', ' a ', 'a\u0001b', '__proto__'],
  );
  assert.equal(resultOf(reply), keys.map((key) => `<Deleted>${key}</Deleted>`).join(''));
});

test('DeleteObjects reports each key in the order of the request', async () => {
  const { meta } = deleting({
    b: { ok: false, refusal: 'PreconditionFailed', message: 'ETag <differs>' },
  });
  const xml = body(
    '<Key>a</Key><VersionId>no such id</VersionId>',
    '<Key>b</Key><ETag>"ab"</ETag>',
    '<Key>c</Key><VersionId>null</VersionId>',
    `<Key>${'k'.repeat(1025)}</Key>`,
  );
  const reply = await run(deleteObjects, { headers: HEADERS, xml, meta });
  const messages = {
    version: 'Invalid version id specified',
    long: 'Your key is too long.',
  };
  assert.equal(
    resultOf(reply),
    `<Error><Key>a</Key><VersionId>no such id</VersionId><Code>InvalidArgument</Code><Message>${messages.version}</Message></Error>` +
      '<Error><Key>b</Key><Code>PreconditionFailed</Code><Message>ETag &lt;differs&gt;</Message></Error>' +
      '<Deleted><Key>c</Key><VersionId>null</VersionId></Deleted>' +
      `<Error><Key>${'k'.repeat(1025)}</Key><Code>KeyTooLongError</Code><Message>${messages.long}</Message></Error>`,
  );
});

test('DeleteObjects in quiet mode reports errors only', async () => {
  const { meta } = deleting({ b: { ok: false, refusal: 'NoSuchKey' } });
  const xml =
    '<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>';
  const reply = await run(deleteObjects, { headers: HEADERS, xml, meta });
  assert.match(resultOf(reply), /^<Error><Key>b<\/Key><Code>NoSuchKey<\/Code>/);
  assert.doesNotMatch(resultOf(reply), /Deleted/);
});

test('DeleteObjects hands the conditions of each key on', async () => {
  const { asked, meta } = deleting();
  const xml = body(
    '<Key>a</Key>',
    '<Key>b</Key><ETag>"ab"</ETag><Size>3</Size><LastModifiedTime>Thu, 01 Jan 1970 00:00:01 GMT</LastModifiedTime>',
    '<Key>c</Key><ETag>*</ETag>',
  );
  await run(deleteObjects, { headers: HEADERS, xml, meta });
  assert.deepEqual(
    asked.map(({ condition }) => condition),
    [
      undefined,
      { ifMatch: 'ab', ifMatchSize: 3, ifMatchModifiedMs: 1000 },
      { ifMatch: '*', ifMatchSize: undefined, ifMatchModifiedMs: undefined },
    ],
  );
});

test('DeleteObjects needs a digest of its body, of whichever kind', async () => {
  const xml = body('<Key>a</Key>');
  await assert.rejects(run(deleteObjects, { xml }), (error) => {
    assert.ok(isCode('InvalidRequest')(error) && error instanceof Error);
    assert.equal(
      error.message,
      'Missing required header for this request: Content-MD5 OR x-amz-checksum-*',
    );
    return true;
  });
  for (const headers of [
    { 'x-amz-checksum-crc32': 'AAAAAA==' },
    { 'x-amz-trailer': 'x-amz-checksum-crc32' },
  ]) {
    assert.equal((await run(deleteObjects, { headers, xml, ...deleting() })).status, 200);
  }
});

test('DeleteObjects answers for the bucket even when no key can be deleted', async () => {
  const meta = { deleteObjects: () => refused('NoSuchBucket') };
  const xml = body('<Key>a</Key><VersionId>other</VersionId>');
  await assert.rejects(run(deleteObjects, { headers: HEADERS, xml, meta }), isCode('NoSuchBucket'));
});

test('DeleteObjects without a body is MissingRequestBodyError', async () => {
  await assert.rejects(run(deleteObjects, { headers: HEADERS }), isCode('MissingRequestBodyError'));
});
