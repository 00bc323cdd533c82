/** The object lock of a bucket: body of PutObjectLockConfiguration, answer of its reader. */
import {
  type ObjectLockConfiguration,
  RETENTION_DAYS_MAX,
  RETENTION_YEARS_MAX,
} from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
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

const ROOT = 'ObjectLockConfiguration';

export function objectLockConfiguration({ retention }: ObjectLockConfiguration): string {
  const enabled = text('ObjectLockEnabled', 'Enabled');
  if (retention === undefined) return document(ROOT, enabled);
  const { mode, period } = retention;
  const length = 'days' in period ? text('Days', period.days) : text('Years', period.years);
  const rule = element('Rule', element('DefaultRetention', text('Mode', mode), length));
  return document(ROOT, enabled, rule);
}

/** Throws MalformedXML, and InvalidRetentionPeriod for a default retention of no or too much time. */
export function readObjectLockConfiguration(xml: string): ObjectLockConfiguration {
  const root = readXml(xml, { root: ROOT, arrays: [] });
  allowOnly(root, ['ObjectLockEnabled', 'Rule']);
  if (requiredText(root, 'ObjectLockEnabled').trim() !== 'Enabled') {
    throw malformedXml('ObjectLockEnabled must be Enabled');
  }
  const [rule] = childrenNamed(root, 'Rule');
  if (rule === undefined) return {};
  allowOnly(rule, ['DefaultRetention']);
  const [retention] = childrenNamed(rule, 'DefaultRetention');
  if (retention === undefined) throw malformedXml('Rule needs DefaultRetention');
  return { retention: readRetention(retention) };
}

function readRetention(node: XmlNode): NonNullable<ObjectLockConfiguration['retention']> {
  allowOnly(node, ['Mode', 'Days', 'Years']);
  const mode = readLockMode(node);
  const days = readPeriod(node, 'Days', RETENTION_DAYS_MAX);
  const years = readPeriod(node, 'Years', RETENTION_YEARS_MAX);
  if (days !== undefined && years === undefined) return { mode, period: { days } };
  if (years !== undefined && days === undefined) return { mode, period: { years } };
  throw malformedXml('DefaultRetention needs Days or Years, not both');
}

/** The required child `Mode`. Throws MalformedXML. */
export function readLockMode(node: XmlNode): 'GOVERNANCE' | 'COMPLIANCE' {
  const mode = requiredText(node, 'Mode').trim();
  if (mode === 'GOVERNANCE' || mode === 'COMPLIANCE') return mode;
  throw malformedXml('Mode must be GOVERNANCE or COMPLIANCE');
}

function readPeriod(node: XmlNode, name: string, max: number): number | undefined {
  const value = childText(node, name)?.trim();
  if (value === undefined) return undefined;
  if (!/^-?[0-9]{1,15}$/.test(value)) throw malformedXml(`${name} must be a number`);
  const period = Number(value);
  if (period >= 1 && period <= max) return period;
  throw new S3Error('InvalidRetentionPeriod', {
    message: `Default retention period must be a positive integer value, at most ${max} ${name.toLowerCase()}`,
  });
}
