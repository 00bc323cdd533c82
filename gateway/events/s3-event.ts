/**
 * An event as S3 writes it.
 *
 * Source: "Event message structure", Amazon S3 User Guide. The version is 2.1 for objects that are
 * created and removed, 2.2 for replication, 2.3 for everything that came later.
 */
import type { EventType, StoredEvent } from '../../meta/protocol.ts';

export interface EventContext {
  region: string;
  /** Canonical id of the bucket's owner. */
  bucketOwner: string;
  /** Of the rule that wants the event. */
  configurationId: string;
}

/** The whole message: one record. */
export function s3EventMessage(event: StoredEvent, context: EventContext): string {
  return JSON.stringify({ Records: [record(event, context)] });
}

function record(event: StoredEvent, { region, bucketOwner, configurationId }: EventContext) {
  const { type, bucket } = event;
  const lifecycle = type.startsWith('LifecycleExpiration:');
  const service = 's3.amazonaws.com';
  return {
    eventVersion: versionOf(type),
    eventSource: 'aws:s3',
    awsRegion: region,
    eventTime: new Date(event.atMs).toISOString(),
    eventName: type,
    userIdentity: { principalId: lifecycle ? service : event.account || 'Anonymous' },
    requestParameters: { sourceIPAddress: lifecycle ? service : event.sourceIp },
    responseElements: { 'x-amz-request-id': event.requestId, 'x-amz-id-2': event.id },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId,
      bucket: {
        name: bucket,
        ownerIdentity: { principalId: bucketOwner },
        arn: `arn:aws:s3:::${bucket}`,
      },
      object: objectOf(event),
    },
  };
}

function objectOf(event: StoredEvent): Record<string, string | number> {
  const { type, size, etag, versionId } = event;
  const object: Record<string, string | number> = { key: encodeKey(event.key) };
  if (type.startsWith('ObjectCreated:')) object['size'] = size;
  if (!type.endsWith(':Delete') && etag !== '') object['eTag'] = etag;
  if (versionId !== undefined && versionId !== 'null') object['versionId'] = versionId;
  object['sequencer'] = event.id.toUpperCase();
  return object;
}

function versionOf(type: EventType): string {
  if (type.startsWith('Replication:')) return '2.2';
  return type.startsWith('ObjectCreated:') || type.startsWith('ObjectRemoved:') ? '2.1' : '2.3';
}

/** As in an HTML form: a space is a plus, and `/` stays. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replaceAll('%20', '+')
    .replaceAll('%2F', '/')
    .replace(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
