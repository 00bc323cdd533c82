import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { systemEffects } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import type { RawRequest } from '../s3/request.ts';
import { createHttpServer } from './server.ts';

/** A DER value: tag, length, content. */
function der(tag: number, ...content: Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.length;
  const head = length < 128 ? [tag, length] : [tag, 0x82, Math.floor(length / 256), length % 256];
  return Buffer.concat([Buffer.from(head), body]);
}

const SEQUENCE = 0x30;
/** ecdsa-with-SHA256, RFC 5758. */
const ALGORITHM = der(SEQUENCE, der(0x06, Buffer.from('2a8648ce3d040302', 'hex')));
const COMMON_NAME = der(0x06, Buffer.from('550403', 'hex'));

/** A certificate that nobody has signed but itself (RFC 5280, 4.1). */
function selfSigned(): { key: string; cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = der(SEQUENCE, der(0x31, der(SEQUENCE, COMMON_NAME, der(0x0c, Buffer.from('test')))));
  const dates = ['200101000000Z', '491231235959Z'].map((date) => der(0x17, Buffer.from(date)));
  const body = der(
    SEQUENCE,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.from([1])),
    ALGORITHM,
    name,
    der(SEQUENCE, ...dates),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey));
  const whole = der(SEQUENCE, body, ALGORITHM, signature).toString('base64');
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${whole}\n-----END CERTIFICATE-----\n`,
  };
}

test('a request over TLS says so, and which version it is', async () => {
  const seen: Pick<RawRequest, 'secure' | 'tlsVersion'>[] = [];
  const tls = selfSigned();
  const server = createHttpServer({
    pipeline({ secure, tlsVersion }) {
      seen.push({ secure, tlsVersion });
      return Promise.resolve({ status: 200, headers: {}, body: 'hello' });
    },
    effects: systemEffects,
    log: silentLog,
    tls,
  });
  try {
    const { port } = await server.listen({ host: '127.0.0.1', port: 0 });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = connect({
        port,
        host: '127.0.0.1',
        ca: tls.cert,
        checkServerIdentity: () => undefined,
        minVersion: version,
        maxVersion: version,
      });
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.write('GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
      await once(socket, 'close');
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n.*hello$/s);
    }
  } finally {
    await server.close({ deadlineMs: 0 });
  }
  assert.deepEqual(seen, [
    { secure: true, tlsVersion: '1.2' },
    { secure: true, tlsVersion: '1.3' },
  ]);
});
