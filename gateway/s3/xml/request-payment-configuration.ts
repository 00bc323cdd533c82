/** Who pays: body of PutBucketRequestPayment, answer of GetBucketRequestPayment. */
import { PAYERS, type Payer } from '../access/request-payment.ts';
import { allowOnly, malformedXml, readXml, requiredText } from './reader.ts';
import { document, text } from './writer.ts';

export function requestPaymentConfiguration(payer: Payer): string {
  return document('RequestPaymentConfiguration', text('Payer', payer));
}

/** Throws MalformedXML. */
export function readRequestPaymentConfiguration(xml: string): Payer {
  const root = readXml(xml, { root: 'RequestPaymentConfiguration', arrays: [] });
  allowOnly(root, ['Payer']);
  const payer = PAYERS.find((one) => one === requiredText(root, 'Payer').trim());
  if (payer === undefined) throw malformedXml('Payer must be Requester or BucketOwner');
  return payer;
}
