/** HTTP dates (RFC 9110 section 5.6.7). */

const IMF_FIXDATE =
  /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC_850 = /^[A-Z][a-z]+day, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/;
const ASCTIME = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/;
/** RFC 5322, as Python writes it. */
const MAIL_DATE =
  /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}$/;
/** What some S3 clients send and AWS takes. */
const ISO_8601 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** Milliseconds since the epoch; `undefined` when it is no date (a condition is then ignored). */
export function parseHttpDate(text: string): number | undefined {
  const trimmed = text.trim();
  const known =
    IMF_FIXDATE.test(trimmed) ||
    RFC_850.test(trimmed) ||
    ASCTIME.test(trimmed) ||
    MAIL_DATE.test(trimmed) ||
    ISO_8601.test(trimmed);
  if (!known) return undefined;
  const ms = Date.parse(ASCTIME.test(trimmed) ? `${trimmed} GMT` : trimmed);
  return Number.isNaN(ms) ? undefined : ms;
}

/** A time as XML documents and a few headers hold it (ISO 8601); `undefined` when it is none. */
export function parseIsoDate(text: string): number | undefined {
  const trimmed = text.trim();
  const ms = ISO_8601.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

let lastSecond = -1;
let lastText = '';

/** `Sun, 06 Nov 1994 08:49:37 GMT`, rounded down to the second. */
export function formatHttpDate(ms: number): string {
  const second = Math.floor(ms / 1000);
  // One object read often, or one clock second: the same text again and again.
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = new Date(second * 1000).toUTCString();
  }
  return lastText;
}
