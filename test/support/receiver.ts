/** A webhook receiver of a test: keeps what it was sent, and can refuse. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before } from 'node:test';

export interface ReceivedEvent {
  eventVersion: string;
  eventSource: string;
  awsRegion: string;
  eventTime: string;
  eventName: string;
  userIdentity: { principalId: string };
  requestParameters: { sourceIPAddress: string };
  responseElements: Record<string, string>;
  s3: {
    s3SchemaVersion: string;
    configurationId: string;
    bucket: { name: string; ownerIdentity: { principalId: string }; arn: string };
    object: { key: string; size?: number; eTag?: string; versionId?: string; sequencer: string };
  };
}

export interface Receiver {
  readonly url: string;
  /** Status that it answers with; 200 unless a test sets another. */
  status: number;
  readonly authorizations: (string | undefined)[];
  /** Bodies, test events included. */
  readonly bodies: string[];
  events(): ReceivedEvent[];
  /** Waits until `count` events about the bucket have come; fails after 20 s. */
  until(count: number, bucket: string): Promise<ReceivedEvent[]>;
}

/** Starts before the tests of the file, and ends after them. */
export function useReceiver({ delayMs = 0 } = {}): Receiver {
  const bodies: string[] = [];
  const authorizations: (string | undefined)[] = [];
  let url = '';
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      authorizations.push(request.headers.authorization);
      if (receiver.status === 200) bodies.push(Buffer.concat(parts).toString());
      setTimeout(() => response.writeHead(receiver.status).end(), delayMs);
    });
  });
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`;
  });
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  const events = (): ReceivedEvent[] =>
    bodies.flatMap((body) => (JSON.parse(body) as { Records?: ReceivedEvent[] }).Records ?? []);
  const receiver: Receiver = {
    get url() {
      return url;
    },
    status: 200,
    authorizations,
    bodies,
    events,
    async until(count, bucket) {
      const mine = () => events().filter(({ s3 }) => s3.bucket.name === bucket);
      const deadline = performance.now() + 20_000;
      while (mine().length < count) {
        assert.ok(
          performance.now() < deadline,
          `${count} events about ${bucket} were expected: ${JSON.stringify(mine())}`,
        );
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return mine();
    },
  };
  return receiver;
}
