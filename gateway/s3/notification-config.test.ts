import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventType } from '../../meta/protocol.ts';
import {
  checkNotifications,
  type NotificationRule,
  ruleMatches,
  targetOfArn,
} from './notification-config.ts';
import { isCode } from './operations/testing-context.ts';
import {
  notificationConfiguration,
  readNotificationConfiguration,
} from './xml/notification-configuration.ts';

const rule = (changes: Partial<NotificationRule> = {}): NotificationRule => ({
  id: 'r',
  kind: 'Queue',
  arn: 'arn:aws:sqs:us-east-1:0:hook',
  events: ['s3:ObjectCreated:*'],
  ...changes,
});
const check = (...rules: NotificationRule[]) =>
  checkNotifications({ rules }, (name) => name === 'hook');

test('the name of a target is the last part of an ARN of its kind', () => {
  assert.equal(targetOfArn('Queue', 'arn:aws:sqs:eu-west-1:123456789012:hook'), 'hook');
  assert.equal(targetOfArn('Topic', 'arn:aws:sns:::hook'), 'hook');
  assert.equal(targetOfArn('CloudFunction', 'arn:aws:lambda:r:1:function:hook'), 'hook');
  assert.equal(targetOfArn('Topic', 'arn:ashlar:ashlar::0:hook'), 'hook');
  assert.equal(targetOfArn('Topic', 'arn:aws:sqs:::hook'), undefined);
  for (const bad of ['hook', 'arn:aws:sqs:hook', 'arn:aws:sqs:::', 'arn:aws:sqs:::a b']) {
    assert.equal(targetOfArn('Queue', bad), undefined, bad);
  }
});

test('events match by name and wildcard, keys by prefix and suffix', () => {
  const cases: [Partial<NotificationRule>, EventType, string, boolean][] = [
    [{}, 'ObjectCreated:Put', 'k', true],
    [{}, 'ObjectRemoved:Delete', 'k', false],
    [{ events: ['s3:ObjectCreated:Copy'] }, 'ObjectCreated:Put', 'k', false],
    [{ events: ['s3:ObjectCreated:Copy'] }, 'ObjectCreated:Copy', 'k', true],
    [{ events: ['s3:ObjectAcl:Put'] }, 'ObjectAcl:Put', 'k', true],
    [{ prefix: 'a/' }, 'ObjectCreated:Put', 'a/b', true],
    [{ prefix: 'a/' }, 'ObjectCreated:Put', 'b/a/', false],
    [{ suffix: '.jpg' }, 'ObjectCreated:Put', 'x.jpg', true],
    [{ suffix: '.jpg', prefix: 'y' }, 'ObjectCreated:Put', 'x.jpg', false],
    // A prefix and a suffix may share characters of the key.
    [{ prefix: 'ab', suffix: 'bc' }, 'ObjectCreated:Put', 'abc', true],
  ];
  for (const [changes, type, key, expected] of cases) {
    assert.equal(ruleMatches(rule(changes), type, key), expected, JSON.stringify(changes));
  }
});

test('rules that could tell one event twice are refused', () => {
  const pairs: [Partial<NotificationRule>, Partial<NotificationRule>, boolean][] = [
    [{}, {}, true],
    [{ prefix: 'a' }, {}, true],
    [{ prefix: 'a' }, { prefix: 'ab' }, true],
    [{ prefix: 'a' }, { prefix: 'b' }, false],
    [{ suffix: 'a' }, { suffix: 'ba' }, true],
    [{ suffix: 'a', prefix: 'x' }, { suffix: 'b', prefix: 'x' }, false],
    [{ events: ['s3:ObjectRemoved:*'] }, {}, false],
    [{ events: ['s3:ObjectCreated:Put'] }, {}, true],
    [{ events: ['s3:ObjectCreated:Put'] }, { events: ['s3:ObjectCreated:Copy'] }, false],
  ];
  for (const [one, other, overlap] of pairs) {
    const rules = [rule({ id: '1', ...one }), rule({ id: '2', ...other })];
    const label = JSON.stringify([one, other]);
    if (overlap) assert.throws(() => check(...rules), isCode('InvalidArgument', /overlap/), label);
    else check(...rules);
  }
});

test('unknown events and targets, bad ARNs and repeated ids are refused', () => {
  assert.throws(
    () => check(rule({ events: ['s3:ObjectCreated:Nope'] })),
    isCode('InvalidArgument'),
  );
  assert.throws(
    () => check(rule({ events: ['s3:LifecycleTransition'] })),
    isCode('NotImplemented'),
  );
  assert.throws(() => check(rule({ arn: 'hook' })), isCode('InvalidArgument', /well formed/));
  assert.throws(
    () => check(rule({ arn: 'arn:aws:sqs:::other' })),
    isCode('InvalidArgument', /Unable to validate the following destination/),
  );
  assert.throws(
    () => check(rule({ prefix: 'a' }), rule({ prefix: 'b' })),
    isCode('InvalidArgument', /Same ID/),
  );
});

test('a bucket has as many rules as on AWS', () => {
  const rules = (count: number) =>
    Array.from({ length: count }, (_, index) => rule({ id: `${index}`, prefix: `${index}/` }));
  check(...rules(100));
  assert.throws(() => check(...rules(101)), isCode('InvalidRequest', /100/));
});

test('a document is read as it is written', () => {
  const rules = [
    rule({ id: 't', kind: 'Topic', arn: 'arn:aws:sns:::hook', prefix: 'ä&/' }),
    rule({ id: 'q', suffix: '', events: ['s3:ObjectRemoved:Delete', 's3:ObjectAcl:Put'] }),
    rule({ id: 'f', kind: 'CloudFunction', arn: 'arn:aws:lambda:::function:hook' }),
  ];
  const xml = notificationConfiguration(rules);
  assert.deepEqual(
    readNotificationConfiguration(xml, () => 'new'),
    rules,
  );
});

const read = (inner: string) =>
  readNotificationConfiguration(
    `<NotificationConfiguration>${inner}</NotificationConfiguration>`,
    () => 'new',
  );
const queue = (inner: string) =>
  read(`<QueueConfiguration><Queue>a</Queue>${inner}</QueueConfiguration>`);
const filter = (...rules: [string, string][]) =>
  queue(
    `<Event>e</Event><Filter><S3Key>${rules
      .map(([name, value]) => {
        return `<FilterRule><Name>${name}</Name><Value>${value}</Value></FilterRule>`;
      })
      .join('')}</S3Key></Filter>`,
  );

test('what the document must not say is refused', () => {
  assert.throws(() => read('<Other/>'), isCode('MalformedXML'));
  assert.throws(() => queue(''), isCode('MalformedXML'));
  assert.throws(() => queue('<Event>e</Event><More/>'), isCode('MalformedXML'));
  assert.throws(() => read('<EventBridgeConfiguration/>'), isCode('NotImplemented'));
  assert.throws(() => filter(['middle', 'x']), isCode('InvalidArgument', /prefix or suffix/));
  assert.throws(() => filter(['prefix', 'x'], ['Prefix', 'y']), isCode('InvalidArgument'));
  assert.throws(() => filter(['suffix', 'x'.repeat(1025)]), isCode('InvalidArgument'));
  assert.deepEqual(filter(['Prefix', 'x'], ['suffix', 'y']), [
    { id: 'new', kind: 'Queue', arn: 'a', events: ['e'], prefix: 'x', suffix: 'y' },
  ]);
});
