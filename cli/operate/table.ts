/** Columns without borders, for people and for `awk`. */
import { visibleLength } from './paint.ts';

const GAP = '  ';

/**
 * Lines with aligned columns. `right`: the columns to align on the right (numbers). Nothing follows
 * the last text of a line.
 */
export function columns(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, text] of row.entries()) {
      widths[index] = Math.max(widths[index] ?? 0, visibleLength(text));
    }
  }
  return rows.map((row) =>
    row
      .map((text, index) => {
        const room = ' '.repeat((widths[index] ?? 0) - visibleLength(text));
        return right.includes(index) ? room + text : text + room;
      })
      .join(GAP)
      .trimEnd(),
  );
}
