/** The ISO 8601 basic form that Signature Version 4 uses: `20130524T000000Z`. */

const BASIC = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/;

/** Milliseconds since the epoch; `undefined` when the text is not a time that exists. */
export function parseBasicTime(text: string): number | undefined {
  const fields = BASIC.exec(text);
  if (fields === null) return undefined;
  const [year, month, day, hour, minute, second] = fields.slice(1).map(Number);
  const ms = Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second);
  // Date.UTC rolls the 31st of February over into March; what rolls did not exist.
  return formatBasicTime(ms) === text ? ms : undefined;
}

/** The basic form of a time in milliseconds, cut to the second. */
export function formatBasicTime(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d+/g, '');
}
