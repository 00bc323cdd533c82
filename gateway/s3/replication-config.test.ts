import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BucketSettings } from './access/bucket-settings.ts';
import { BUCKET, isCode } from './operations/testing-context.ts';
import { mayUse } from './target-owner.ts';
import {
  bucketOfArn,
  checkReplication,
  encodeReplication,
  replicationMatches,
  type ReplicationRule,
  rulesFor,
} from './replication-config.ts';
import {
  readReplicationConfiguration,
  replicationConfiguration,
} from './xml/replication-configuration.ts';

const rule = (changes: Partial<ReplicationRule> = {}): ReplicationRule => ({
  id: 'r',
  enabled: true,
  priority: 1,
  prefix: '',
  tags: [],
  deleteMarkers: false,
  destination: 'arn:aws:s3:::far-away',
  ...changes,
});
const config = (...rules: ReplicationRule[]) => ({ role: '', rules });

test('of the rules that match, the one with the highest priority counts, per destination', () => {
  const other = 'arn:aws:s3:::elsewhere';
  const rules = config(
    rule({ id: 'low', priority: 1 }),
    rule({ id: 'high', priority: 3, prefix: 'a/' }),
    rule({ id: 'middle', priority: 2 }),
    rule({ id: 'off', priority: 9, enabled: false }),
    rule({ id: 'tagged', destination: other, tags: [{ key: 'x', value: '1' }] }),
  );
  const ids = (key: string, tags: { key: string; value: string }[] = []) =>
    rulesFor(rules, key, tags).map(({ id }) => id);
  assert.deepEqual(ids('a/b'), ['high']);
  assert.deepEqual(ids('b'), ['middle']);
  assert.deepEqual(ids('b', [{ key: 'x', value: '2' }]), ['middle']);
  assert.deepEqual(
    ids('b', [
      { key: 'y', value: '' },
      { key: 'x', value: '1' },
    ]),
    ['middle', 'tagged'],
  );
});

test('the metadata service is told what it must know of the enabled rules', () => {
  const tags = [{ key: 'x', value: '1' }];
  const text = encodeReplication(
    config(
      rule({ prefix: 'a/', deleteMarkers: true, kms: true }),
      rule({ tags }),
      rule({ enabled: false, prefix: 'off/' }),
    ),
  );
  const settings = new BucketSettings(BUCKET, { replication: text });
  assert.deepEqual(replicationMatches(settings), [
    { prefix: 'a/', deleteMarkers: true, kms: true },
    { prefix: '', tags },
  ]);
  assert.deepEqual(replicationMatches(new BucketSettings(BUCKET, {})), []);
});

test('the name of a destination is in its ARN', () => {
  assert.equal(bucketOfArn('arn:aws:s3:::far-away'), 'far-away');
  assert.equal(bucketOfArn('arn:aws-cn:s3:::far'), 'far');
  for (const bad of [
    'far',
    'arn:aws:s3:::',
    'arn:aws:s3:::a/b',
    'arn:aws:sqs:::far',
    'arn:aws:s3:::Far',
  ]) {
    assert.equal(bucketOfArn(bad), undefined, bad);
  }
});

test('rules that contradict each other are refused', () => {
  checkReplication(config(rule(), rule({ id: '2', priority: 2 })));
  const refused =
    (...rules: ReplicationRule[]) =>
    () =>
      checkReplication(config(...rules));
  assert.throws(refused(rule(), rule({ priority: 2 })), isCode('InvalidArgument', /unique/));
  assert.throws(refused(rule(), rule({ id: '2' })), isCode('InvalidRequest', /priority/));
  const tags = [{ key: 'x', value: '1' }];
  assert.throws(
    refused(rule({ deleteMarkers: true, tags })),
    isCode('InvalidRequest', /Tag filter/),
  );
  assert.throws(refused(rule({ id: 'x'.repeat(256) })), isCode('InvalidArgument', /255/));
  assert.throws(refused(rule({ destination: 'far' })), isCode('InvalidArgument', /ARN/));
  const many = Array.from({ length: 1001 }, (_, index) =>
    rule({ id: `${index}`, priority: index }),
  );
  assert.throws(refused(...many), isCode('InvalidRequest', /1000/));
});

test('a document is read as it is written, in both of its versions', () => {
  const tags = [{ key: 'x', value: '1' }];
  const rules = [
    rule({ id: '1', account: '123', storageClass: 'STANDARD_IA', kms: true, existing: false }),
    rule({ id: '2', priority: 2, prefix: 'ä&/', tags }),
    rule({ id: '3', priority: 3, tags, enabled: false }),
    rule({ id: '4', priority: 4, prefix: 'p', tags: [...tags, { key: 'y', value: '' }] }),
  ];
  const whole = { role: 'arn:aws:iam::1:role/r', rules };
  const { deleteMarkers: _, ...plain } = rule({ id: 'v1', prefix: 'p', plain: true, priority: 0 });
  for (const one of [whole, { role: '', rules: [plain] }]) {
    const xml = replicationConfiguration(one);
    assert.deepEqual(
      readReplicationConfiguration(xml, () => 'new'),
      one,
    );
  }
});

const DESTINATION = '<Destination><Bucket>arn:aws:s3:::far</Bucket></Destination>';
const read = (inner: string) =>
  readReplicationConfiguration(
    `<ReplicationConfiguration><Rule>${inner}</Rule></ReplicationConfiguration>`,
    () => 'new',
  );

test('what the document must not say is refused', () => {
  const on = '<Status>Enabled</Status>';
  const cases: [string, 'MalformedXML' | 'InvalidRequest' | 'NotImplemented'][] = [
    [on, 'MalformedXML'],
    [DESTINATION, 'MalformedXML'],
    [`<Status>Maybe</Status>${DESTINATION}`, 'MalformedXML'],
    [`${on}<Prefix/><Filter/>${DESTINATION}`, 'MalformedXML'],
    [`${on}<Filter><Prefix/><And/></Filter>${DESTINATION}`, 'MalformedXML'],
    [`${on}<Filter/>${DESTINATION}`, 'InvalidRequest'],
    [`${on}<Filter/><Priority>1</Priority>${DESTINATION}`, 'InvalidRequest'],
    [`${on}<Other/>${DESTINATION}`, 'MalformedXML'],
    [
      `${on}<SourceSelectionCriteria><ReplicaModifications>${on}</ReplicaModifications></SourceSelectionCriteria>${DESTINATION}`,
      'NotImplemented',
    ],
    [
      `${on}<Destination><Bucket>b</Bucket><AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation></Destination>`,
      'NotImplemented',
    ],
    [
      `${on}<Destination><Bucket>b</Bucket><Metrics>${on}</Metrics></Destination>`,
      'NotImplemented',
    ],
  ];
  for (const [inner, code] of cases) assert.throws(() => read(inner), isCode(code), inner);
  assert.throws(
    () => readReplicationConfiguration('<ReplicationConfiguration/>', () => 'new'),
    isCode('MalformedXML'),
  );
  assert.equal(read(`${on}<Prefix>p</Prefix>${DESTINATION}`).rules[0]?.prefix, 'p');
});

test('a target is for the root account and those that it names', () => {
  const owner = { id: 'a'.repeat(64), number: '111111111111', root: false };
  assert.equal(mayUse(undefined, owner), false);
  assert.equal(mayUse([], { ...owner, root: true }), true);
  assert.equal(mayUse(['222222222222'], owner), false);
  for (const name of [owner.id, owner.number, '*']) assert.equal(mayUse([name], owner), true);
});
