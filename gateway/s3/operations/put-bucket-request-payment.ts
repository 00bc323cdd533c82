import { type Payer, REQUEST_PAYMENT_CONFIG } from '../access/request-payment.ts';
import { S3Error } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { readRequestPaymentConfiguration } from '../xml/request-payment-configuration.ts';

interface Input {
  bucket: string;
  payer: Payer;
}

/** PutBucketRequestPayment: every later request goes by it. */
export const putBucketRequestPayment = defineOperation<Input, null>({
  name: 'PutBucketRequestPayment',
  permission: 's3:PutBucketRequestPayment',
  body: 'xml',
  query: ['requestPayment'],
  parse({ bucket, xml }) {
    if (xml === '') throw new S3Error('MissingRequestBodyError');
    return { bucket, payer: readRequestPaymentConfiguration(xml) };
  },
  async execute({ bucket, payer }, { meta, signal }) {
    const config = { bucket, name: REQUEST_PAYMENT_CONFIG };
    const command = payer === 'BucketOwner' ? config : { ...config, value: payer };
    return unwrap(await meta.setBucketConfig(command, { signal }), { bucket });
  },
  serialize: () => ({ status: 200, headers: {} }),
});
