/** ReplicationConfiguration: body of PutBucketReplication, answer of GetBucketReplication. */
import type { Tag } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import type { ReplicationConfig, ReplicationRule } from '../replication-config.ts';
import {
  allowOnly,
  childNumber,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';
import { document, element, text } from './writer.ts';

/* ------------------------------------------------------------------ writing */

export function replicationConfiguration({ role, rules }: ReplicationConfig): string {
  return document(
    'ReplicationConfiguration',
    text('Role', role === '' ? undefined : role),
    ...rules.map(ruleElement),
  );
}

function ruleElement(rule: ReplicationRule): string {
  const destination = element(
    'Destination',
    text('Bucket', rule.destination),
    text('Account', rule.account),
    text('StorageClass', rule.storageClass),
  );
  const kms =
    rule.kms === undefined
      ? ''
      : element('SourceSelectionCriteria', element('SseKmsEncryptedObjects', status(rule.kms)));
  return element(
    'Rule',
    text('ID', rule.id),
    rule.plain === true ? '' : text('Priority', rule.priority),
    rule.plain === true ? text('Prefix', rule.prefix) : filterElement(rule),
    status(rule.enabled),
    kms,
    optionalStatus('ExistingObjectReplication', rule.existing),
    optionalStatus('DeleteMarkerReplication', rule.deleteMarkers),
    destination,
  );
}

function status(enabled: boolean): string {
  return text('Status', enabled ? 'Enabled' : 'Disabled');
}

function optionalStatus(name: string, value: boolean | undefined): string {
  return value === undefined ? '' : element(name, status(value));
}

function filterElement({ prefix, tags }: ReplicationRule): string {
  const tagElements = tags.map(({ key, value }) =>
    element('Tag', text('Key', key), text('Value', value)),
  );
  if (tags.length === 0) return element('Filter', text('Prefix', prefix));
  if (tags.length === 1 && prefix === '') return element('Filter', ...tagElements);
  return element(
    'Filter',
    element('And', prefix === '' ? '' : text('Prefix', prefix), ...tagElements),
  );
}

/* ------------------------------------------------------------------ reading */

const RULE_PARTS = [
  'ID',
  'Priority',
  'Prefix',
  'Filter',
  'Status',
  'SourceSelectionCriteria',
  'ExistingObjectReplication',
  'DeleteMarkerReplication',
  'Destination',
];

/** `newId` for rules without an id. Throws MalformedXML, and NotImplemented for what is not done. */
export function readReplicationConfiguration(xml: string, newId: () => string): ReplicationConfig {
  const root = readXml(xml, { root: 'ReplicationConfiguration', arrays: ['Rule', 'Tag'] });
  allowOnly(root, ['Role', 'Rule']);
  const rules = childrenNamed(root, 'Rule').map((node) => readRule(node, newId));
  if (rules.length === 0) throw malformedXml('ReplicationConfiguration needs Rule');
  return { role: childText(root, 'Role') ?? '', rules };
}

function readRule(node: XmlNode, newId: () => string): ReplicationRule {
  allowOnly(node, RULE_PARTS);
  const [filter] = childrenNamed(node, 'Filter');
  const prefix = childText(node, 'Prefix');
  if (filter !== undefined && prefix !== undefined) {
    throw malformedXml('a rule has Filter or Prefix');
  }
  const id = childText(node, 'ID') ?? '';
  const [destination] = childrenNamed(node, 'Destination');
  if (destination === undefined) throw malformedXml('Rule needs Destination');
  const rule: ReplicationRule = {
    id: id === '' ? newId() : id,
    enabled: readStatus(node),
    priority: 0,
    prefix: prefix ?? '',
    tags: [],
    ...readDestination(destination),
  };
  if (filter === undefined) rule.plain = true;
  else Object.assign(rule, readFilter(filter));
  const priority = childNumber(node, 'Priority');
  if (filter !== undefined && priority === undefined) throw needed('Priority');
  if (priority !== undefined) rule.priority = priority;
  const deleteMarkers = optionalSwitch(node, 'DeleteMarkerReplication');
  if (filter !== undefined && deleteMarkers === undefined) throw needed('DeleteMarkerReplication');
  if (deleteMarkers !== undefined) rule.deleteMarkers = deleteMarkers;
  const existing = optionalSwitch(node, 'ExistingObjectReplication');
  if (existing !== undefined) rule.existing = existing;
  const [criteria] = childrenNamed(node, 'SourceSelectionCriteria');
  if (criteria !== undefined) readCriteria(criteria, rule);
  return rule;
}

/** As AWS asks for what the second version of the document must have. */
function needed(name: string): S3Error {
  return new S3Error('InvalidRequest', {
    message: `${name} must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.`,
  });
}

function readStatus(node: XmlNode): boolean {
  const value = requiredText(node, 'Status').trim();
  if (value !== 'Enabled' && value !== 'Disabled') {
    throw malformedXml('Status must be Enabled or Disabled');
  }
  return value === 'Enabled';
}

function optionalSwitch(node: XmlNode, name: string): boolean | undefined {
  const [child] = childrenNamed(node, name);
  if (child === undefined) return undefined;
  allowOnly(child, ['Status']);
  // An empty DeleteMarkerReplication is what some SDKs send for "no".
  return child.children.length === 0 ? false : readStatus(child);
}

function readFilter(filter: XmlNode): { prefix: string; tags: Tag[] } {
  allowOnly(filter, ['Prefix', 'Tag', 'And']);
  if (filter.children.length > 1) throw malformedXml('Filter holds one element');
  const [and] = childrenNamed(filter, 'And');
  if (and !== undefined) allowOnly(and, ['Prefix', 'Tag']);
  const node = and ?? filter;
  const tags = childrenNamed(node, 'Tag').map((tag) => {
    allowOnly(tag, ['Key', 'Value']);
    return { key: requiredText(tag, 'Key'), value: requiredText(tag, 'Value') };
  });
  return { prefix: childText(node, 'Prefix') ?? '', tags };
}

function readDestination(
  node: XmlNode,
): Pick<ReplicationRule, 'destination' | 'account' | 'storageClass'> {
  allowOnly(node, [
    'Bucket',
    'Account',
    'StorageClass',
    'AccessControlTranslation',
    'EncryptionConfiguration',
    'ReplicationTime',
    'Metrics',
  ]);
  for (const name of ['AccessControlTranslation', 'EncryptionConfiguration']) {
    if (childrenNamed(node, name).length > 0) throw notImplemented(name);
  }
  for (const name of ['ReplicationTime', 'Metrics']) {
    const [child] = childrenNamed(node, name);
    if (child !== undefined && readStatus(child)) throw notImplemented(name);
  }
  const account = childText(node, 'Account');
  const storageClass = childText(node, 'StorageClass');
  return {
    destination: requiredText(node, 'Bucket'),
    ...(account === undefined ? {} : { account }),
    ...(storageClass === undefined ? {} : { storageClass }),
  };
}

function readCriteria(node: XmlNode, rule: ReplicationRule): void {
  allowOnly(node, ['SseKmsEncryptedObjects', 'ReplicaModifications']);
  if (optionalSwitch(node, 'ReplicaModifications') === true) {
    throw notImplemented('ReplicaModifications');
  }
  const kms = optionalSwitch(node, 'SseKmsEncryptedObjects');
  if (kms !== undefined) rule.kms = kms;
}

function notImplemented(name: string): S3Error {
  return new S3Error('NotImplemented', {
    message: `${name} is not implemented.`,
    details: { Element: name },
  });
}
