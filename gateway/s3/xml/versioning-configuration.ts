/** The versioning of a bucket: body of PutBucketVersioning, answer of GetBucketVersioning. */
import type { Versioning } from '../../../meta/protocol.ts';
import { S3Error } from '../errors.ts';
import { allowOnly, childText, malformedXml, readXml } from './reader.ts';
import { document, text } from './writer.ts';

/** Empty for a bucket that never had versioning. */
export function versioningConfiguration(versioning: Versioning | undefined): string {
  return document('VersioningConfiguration', text('Status', versioning));
}

/**
 * Throws MalformedXML, IllegalVersioningConfigurationException without a status, and NotImplemented
 * for MFA delete: there are no such devices here.
 */
export function readVersioningConfiguration(xml: string): Versioning {
  const root = readXml(xml, { root: 'VersioningConfiguration', arrays: [] });
  allowOnly(root, ['Status', 'MfaDelete']);
  const mfa = childText(root, 'MfaDelete')?.trim();
  if (mfa === 'Enabled') {
    throw new S3Error('NotImplemented', {
      message: 'MFA delete is not implemented.',
      details: { Element: 'MfaDelete' },
    });
  }
  if (mfa !== undefined && mfa !== 'Disabled') throw malformedXml('MfaDelete must be Disabled');
  const status = childText(root, 'Status')?.trim();
  if (status === undefined) throw new S3Error('IllegalVersioningConfigurationException');
  if (status === 'Enabled' || status === 'Suspended') return status;
  throw malformedXml('Status must be Enabled or Suspended');
}
