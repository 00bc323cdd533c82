/** Error pages as S3's website endpoints show them. */
import type { S3Error } from '../errors.ts';
import { escapeXml } from '../xml/writer.ts';

/** RFC 9110 section 15. */
const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  412: 'Precondition Failed',
  416: 'Requested Range Not Satisfiable',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
};

export interface PageContext {
  requestId: string;
  hostId: string;
  /** The custom error page could not be served either, for this reason. */
  second?: S3Error | undefined;
}

/** HTML; everything that comes from outside is escaped. */
export function errorPage(error: S3Error, { requestId, hostId, second }: PageContext): string {
  const title = `${error.status} ${REASONS[error.status] ?? 'Error'}`;
  const items = [...itemsOf(error), ['RequestId', requestId], ['HostId', hostId]] as const;
  const more =
    second === undefined
      ? ''
      : `<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n${list(itemsOf(second))}`;
  return `<!DOCTYPE html>\n<html>\n<head><meta charset="utf-8"><title>${title}</title></head>\n<body>\n<h1>${title}</h1>\n${list(items)}${more}<hr>\n</body>\n</html>\n`;
}

type Item = readonly [name: string, value: string];

function itemsOf({ code, message, details }: S3Error): Item[] {
  return [['Code', code], ['Message', message], ...Object.entries(details)];
}

const list = (items: readonly Item[]): string =>
  `<ul>\n${items.map(([name, value]) => `<li>${escapeXml(name)}: ${escapeXml(value)}</li>\n`).join('')}</ul>\n`;
