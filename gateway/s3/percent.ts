/** Percent-encoding (RFC 3986 section 2.1) over strict UTF-8. */

/**
 * Decodes once. `undefined` when an escape is broken, the bytes are not UTF-8, or a NUL appears.
 * `+` stays `+`. Input is the text of a request line or header, where Node gives one character per
 * byte: characters above 0x7F are taken as the raw bytes they were.
 */
export function decodePercent(text: string): string | undefined {
  if (!NEEDS_WORK.test(text)) return text;
  try {
    // Raw bytes above 0x7F become escapes, then one strict decoder judges everything.
    const decoded = decodeURIComponent(
      HIGH.test(text) ? text.replaceAll(HIGH_ALL, escapeByte) : text,
    );
    return decoded.includes('\0') ? undefined : decoded;
  } catch {
    return undefined;
  }
}

// eslint-disable-next-line no-control-regex -- a NUL is what is looked for
const NEEDS_WORK = /[%\0\u0080-\uffff]/;
const HIGH = /[\u0080-\uffff]/;
const HIGH_ALL = /[\u0080-\uffff]/g;

function escapeByte(character: string): string {
  const code = character.charCodeAt(0);
  // Above 0xFF it is no raw byte: let the decoder see the character's own UTF-8.
  return code > 0xff ? character : `%${code.toString(16)}`;
}
