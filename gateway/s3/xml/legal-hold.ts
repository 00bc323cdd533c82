/** The legal hold of a version: body of PutObjectLegalHold, answer of its reader. */
import { allowOnly, malformedXml, readXml, requiredText } from './reader.ts';
import { document, text } from './writer.ts';

export function legalHold(on: boolean): string {
  return document('LegalHold', text('Status', on ? 'ON' : 'OFF'));
}

/** Whether it is on. Throws MalformedXML. */
export function readLegalHold(xml: string): boolean {
  const root = readXml(xml, { root: 'LegalHold', arrays: [] });
  allowOnly(root, ['Status']);
  const status = requiredText(root, 'Status').trim();
  if (status === 'ON' || status === 'OFF') return status === 'ON';
  throw malformedXml('Status must be ON or OFF');
}
