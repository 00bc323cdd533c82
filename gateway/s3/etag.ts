/** Entity tags: stored bare, quoted on the wire (RFC 9110 section 8.8.3). */

/** `abc` → `"abc"`. */
export function quoteEtag(etag: string): string {
  return `"${etag}"`;
}

/** `"abc"` or `abc` → `abc`. A weak tag keeps its `W/` and so never equals a stored one. */
export function unquoteEtag(text: string): string {
  const trimmed = text.trim();
  return trimmed.length >= 2 && trimmed.startsWith('"') && trimmed.endsWith('"')
    ? trimmed.slice(1, -1)
    : trimmed;
}

/**
 * The bare tags of a header such as If-Match; `*` stands alone. Unquoted tags are taken too: S3
 * clients send them. A stored tag never holds a comma or a quote, so splitting at commas is exact.
 */
export function parseEtagList(header: string): string[] {
  return header
    .split(',')
    .map(unquoteEtag)
    .filter((tag) => tag !== '');
}

/** Whether the header names this tag, or any by `*`. `weak` also lets `W/"…"` match (GET, HEAD). */
export function matchesEtag(header: string, etag: string, weak = false): boolean {
  return parseEtagList(header).some((tag) => {
    if (tag === '*' || tag === etag) return true;
    return weak && tag.startsWith('W/') && unquoteEtag(tag.slice(2)) === etag;
  });
}
