/** The ISO 8601 basic form that Signature Version 4 uses: `20130524T000000Z`. */

const BASIC = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** Milliseconds since the epoch; `undefined` when the text is not a time that exists. */
export function parseBasicTime(text: string): number | undefined {
  const fields = BASIC.exec(text);
  if (fields === null) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields
    .slice(1)
    .map(Number);
  // Date.UTC reads years below 100 as 1900 and later, and rolls what is too large over.
  if (year < 100 || month < 1 || hour > 23 || minute > 59 || second > 59) return undefined;
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  return new Date(ms).getUTCDate() === day && month <= 12 ? ms : undefined;
}

/** The basic form of a time in milliseconds, cut to the second. */
export function formatBasicTime(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d+/g, '');
}
