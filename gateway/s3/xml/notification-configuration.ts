/** NotificationConfiguration: body of PutBucketNotificationConfiguration, answer of its reader. */
import { S3Error } from '../errors.ts';
import type { NotificationRule, TargetKind } from '../notification-config.ts';
import {
  allowOnly,
  childrenNamed,
  childText,
  malformedXml,
  readXml,
  requiredText,
  type XmlNode,
} from './reader.ts';
import { document, element, text } from './writer.ts';

const KINDS: readonly TargetKind[] = ['Topic', 'Queue', 'CloudFunction'];
const FILTER_VALUE_MAX = 1024;

export function notificationConfiguration(rules: readonly NotificationRule[]): string {
  const elements = KINDS.flatMap((kind) =>
    rules.filter((rule) => rule.kind === kind).map(ruleElement),
  );
  return document('NotificationConfiguration', ...elements);
}

function ruleElement({ id, kind, arn, events, prefix, suffix }: NotificationRule): string {
  const filters = [
    prefix === undefined ? '' : filterRule('Prefix', prefix),
    suffix === undefined ? '' : filterRule('Suffix', suffix),
  ].join('');
  return element(
    `${kind}Configuration`,
    text('Id', id),
    text(kind, arn),
    ...events.map((event) => text('Event', event)),
    filters === '' ? '' : element('Filter', element('S3Key', filters)),
  );
}

function filterRule(name: string, value: string): string {
  return element('FilterRule', text('Name', name), text('Value', value));
}

/**
 * The rules of a document, `newId` for those without an id. Throws MalformedXML, InvalidArgument for
 * filters, and NotImplemented for EventBridge.
 */
export function readNotificationConfiguration(
  xml: string,
  newId: () => string,
): NotificationRule[] {
  const names = KINDS.map((kind) => `${kind}Configuration`);
  const root = readXml(xml, {
    root: 'NotificationConfiguration',
    arrays: [...names, 'Event', 'FilterRule'],
  });
  allowOnly(root, [...names, 'EventBridgeConfiguration']);
  if (childrenNamed(root, 'EventBridgeConfiguration').length > 0) {
    throw new S3Error('NotImplemented', { message: 'There is no EventBridge here.' });
  }
  return KINDS.flatMap((kind) =>
    childrenNamed(root, `${kind}Configuration`).map((node) => readRule(kind, node, newId)),
  );
}

function readRule(kind: TargetKind, node: XmlNode, newId: () => string): NotificationRule {
  allowOnly(node, ['Id', kind, 'Event', 'Filter']);
  const events = childrenNamed(node, 'Event').map((event) => event.text);
  if (events.length === 0) throw malformedXml(`${node.name} needs Event`);
  const id = childText(node, 'Id') ?? '';
  const rule: NotificationRule = {
    id: id === '' ? newId() : id,
    kind,
    arn: requiredText(node, kind),
    events: [...new Set(events)],
  };
  const [filter] = childrenNamed(node, 'Filter');
  if (filter !== undefined) readFilter(filter, rule);
  return rule;
}

function readFilter(filter: XmlNode, rule: NotificationRule): void {
  allowOnly(filter, ['S3Key']);
  const [key] = childrenNamed(filter, 'S3Key');
  if (key === undefined) return;
  allowOnly(key, ['FilterRule']);
  for (const node of childrenNamed(key, 'FilterRule')) {
    allowOnly(node, ['Name', 'Value']);
    const name = requiredText(node, 'Name').toLowerCase();
    const value = requiredText(node, 'Value');
    if (name !== 'prefix' && name !== 'suffix') {
      throw invalid('filter rule name must be either prefix or suffix', name);
    }
    if (rule[name] !== undefined) {
      throw invalid(`Cannot specify more than one ${name} rule in a filter.`, value);
    }
    if (Buffer.byteLength(value) > FILTER_VALUE_MAX) {
      throw invalid('Size of filter rule value cannot exceed 1024 bytes in UTF-8', value);
    }
    rule[name] = value;
  }
}

function invalid(message: string, value: string): S3Error {
  return new S3Error('InvalidArgument', {
    message,
    details: { ArgumentName: 'FilterRule', ArgumentValue: value.slice(0, 100) },
  });
}
