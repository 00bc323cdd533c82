import { PAYERS, type Payer, REQUEST_PAYMENT_CONFIG } from '../access/request-payment.ts';
import { defineOperation } from '../operation.ts';
import { unwrap } from '../refusal.ts';
import { xmlReply } from '../xml/reply.ts';
import { requestPaymentConfiguration } from '../xml/request-payment-configuration.ts';

/** GetBucketRequestPayment: the owner unless it was set otherwise. */
export const getBucketRequestPayment = defineOperation<{ bucket: string }, Payer>({
  name: 'GetBucketRequestPayment',
  permission: 's3:GetBucketRequestPayment',
  body: 'none',
  query: ['requestPayment'],
  parse: ({ bucket }) => ({ bucket }),
  async execute({ bucket }, { meta, signal }) {
    const answer = await meta.getBucketConfig({ bucket, name: REQUEST_PAYMENT_CONFIG }, { signal });
    const { value } = unwrap(answer, { bucket });
    return PAYERS.find((payer) => payer === value) ?? 'BucketOwner';
  },
  serialize: (payer) => xmlReply(requestPaymentConfiguration(payer)),
});
