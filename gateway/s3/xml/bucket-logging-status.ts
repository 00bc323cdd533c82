/** BucketLoggingStatus: body of PutBucketLogging, answer of GetBucketLogging. */
import type { Grant, Permission } from '../../../meta/protocol.ts';
import { groupOfUri } from '../access/acl.ts';
import type { LoggingConfig } from '../access-log/config.ts';
import { S3Error } from '../errors.ts';
import { granteeElement } from './access-control-policy.ts';
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

/* ------------------------------------------------------------------ writing */

/** Empty for a bucket without logging. */
export function bucketLoggingStatus(config: LoggingConfig | undefined): string {
  if (config === undefined) return document('BucketLoggingStatus');
  const { bucket, prefix, grants, format } = config;
  const enabled = element(
    'LoggingEnabled',
    text('TargetBucket', bucket),
    text('TargetPrefix', prefix),
    grants === undefined ? '' : element('TargetGrants', ...grants.map(grantElement)),
    format === undefined ? '' : element('TargetObjectKeyFormat', formatElement(format)),
  );
  return document('BucketLoggingStatus', enabled);
}

function formatElement(format: NonNullable<LoggingConfig['format']>): string {
  if (format === 'simple') return element('SimplePrefix');
  const source = format === 'event-time' ? 'EventTime' : 'DeliveryTime';
  return element('PartitionedPrefix', text('PartitionDateSource', source));
}

const NO_NAMES: ReadonlyMap<string, string> = new Map();

function grantElement({ grantee, permission }: Grant): string {
  return element('Grant', granteeElement(grantee, NO_NAMES), text('Permission', permission));
}

/* ------------------------------------------------------------------ reading */

/** Undefined: logging is switched off. Throws MalformedXML. */
export function readBucketLoggingStatus(xml: string): LoggingConfig | undefined {
  const root = readXml(xml, { root: 'BucketLoggingStatus', arrays: ['Grant'] });
  allowOnly(root, ['LoggingEnabled']);
  const [enabled] = childrenNamed(root, 'LoggingEnabled');
  if (enabled === undefined) return undefined;
  allowOnly(enabled, ['TargetBucket', 'TargetPrefix', 'TargetGrants', 'TargetObjectKeyFormat']);
  const config: LoggingConfig = {
    bucket: requiredText(enabled, 'TargetBucket'),
    prefix: childText(enabled, 'TargetPrefix') ?? '',
  };
  const [grants] = childrenNamed(enabled, 'TargetGrants');
  if (grants !== undefined) {
    allowOnly(grants, ['Grant']);
    config.grants = childrenNamed(grants, 'Grant').map(readGrant);
  }
  const [format] = childrenNamed(enabled, 'TargetObjectKeyFormat');
  if (format !== undefined) config.format = readFormat(format);
  return config;
}

function readFormat(node: XmlNode): NonNullable<LoggingConfig['format']> {
  allowOnly(node, ['SimplePrefix', 'PartitionedPrefix']);
  if (node.children.length !== 1) throw malformedXml('TargetObjectKeyFormat holds one format');
  const [partitioned] = childrenNamed(node, 'PartitionedPrefix');
  if (partitioned === undefined) return 'simple';
  allowOnly(partitioned, ['PartitionDateSource']);
  const source = childText(partitioned, 'PartitionDateSource')?.trim() ?? 'DeliveryTime';
  if (source === 'EventTime') return 'event-time';
  if (source === 'DeliveryTime') return 'delivery-time';
  throw malformedXml('PartitionDateSource must be EventTime or DeliveryTime');
}

const PERMISSIONS: readonly Permission[] = ['FULL_CONTROL', 'READ', 'WRITE'];

function readGrant(node: XmlNode): Grant {
  allowOnly(node, ['Grantee', 'Permission']);
  const name = requiredText(node, 'Permission').trim();
  const permission = PERMISSIONS.find((one) => one === name);
  if (permission === undefined) throw malformedXml('Permission is FULL_CONTROL, READ or WRITE');
  const [grantee] = childrenNamed(node, 'Grantee');
  if (grantee === undefined) throw malformedXml('Grant needs Grantee');
  allowOnly(grantee, ['ID', 'DisplayName', 'URI', 'EmailAddress']);
  const id = childText(grantee, 'ID')?.trim();
  if (id !== undefined && /^[0-9a-f]{64}$/.test(id)) return { grantee: { id }, permission };
  const group = groupOfUri(childText(grantee, 'URI')?.trim() ?? '');
  if (group !== undefined) return { grantee: { group }, permission };
  throw new S3Error('InvalidArgument', {
    message: 'Grantees of access logs are canonical ids and groups.',
    details: { ArgumentName: 'Grantee', ArgumentValue: (id ?? '').slice(0, 100) },
  });
}
