/** The retention of a version: body of PutObjectRetention, answer of its reader. */
import type { ObjectLock } from '../../../meta/protocol.ts';
import { parseIsoDate } from '../http-date.ts';
import { readLockMode } from './object-lock-configuration.ts';
import { allowOnly, malformedXml, readXml, requiredText } from './reader.ts';
import { document, text, timestamp } from './writer.ts';

export function retention(mode: string, untilMs: number): string {
  return document('Retention', text('Mode', mode), text('RetainUntilDate', timestamp(untilMs)));
}

/** Nothing in it takes the retention off. Throws MalformedXML. */
export function readRetention(xml: string): Pick<ObjectLock, 'mode' | 'untilMs'> {
  const root = readXml(xml, { root: 'Retention', arrays: [] });
  allowOnly(root, ['Mode', 'RetainUntilDate']);
  if (root.text.trim() !== '') throw malformedXml('Retention must hold elements');
  if (root.children.length === 0) return {};
  const mode = readLockMode(root);
  const untilMs = parseIsoDate(requiredText(root, 'RetainUntilDate'));
  if (untilMs === undefined) throw malformedXml('RetainUntilDate must be a date of ISO 8601');
  return { mode, untilMs };
}
