/**
 * XML from clients, read exactly: no value is trimmed, guessed at or converted, since a key that
 * changes on the way in makes DeleteObjects delete the wrong object. Everything that is not plainly
 * well-formed, and everything that the document's description does not name, is MalformedXML.
 */
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { ERRORS, S3Error } from '../errors.ts';

/** Deepest nesting of elements that any S3 document needs is 5. */
export const XML_DEPTH_MAX = 20;

/** An element: its text (character data and CDATA, decoded) and its child elements, in order. */
export interface XmlNode {
  /** Without a namespace prefix. */
  name: string;
  /** Empty for elements with children: white space between them is dropped, other text refused. */
  text: string;
  children: readonly XmlNode[];
}

export interface XmlShape {
  /** Name of the root element. */
  root: string;
  /** Names that may occur more than once in the same parent; all others at most once. */
  arrays: readonly string[];
}

/** A reason may quote the client's own text; more than this of it helps nobody. */
const REASON_CHARACTERS_MAX = 160;

/** MalformedXML with the table's message and what is wrong. `reason` must hold no secret. */
export function malformedXml(reason: string, cause?: unknown): S3Error {
  return new S3Error('MalformedXML', {
    message: `${ERRORS.MalformedXML.message} (${reason.slice(0, REASON_CHARACTERS_MAX)})`,
    cause,
  });
}

/** Anything between `<!` and the next letter that is neither a comment nor CDATA: DOCTYPE, ENTITY. */
const DECLARATION_MARKUP = /<!(?!--|\[CDATA\[)/;
const XML_DECLARATION = /^\s*<\?xml(\s[^<>]*)?\?>/;
const ENCODING = /\sencoding\s*=\s*["']([^"']*)["']/;
const READABLE_ENCODING = /^(utf-?8|us-ascii|ascii)$/i;
const ONLY_EMPTY_ROOT = /^\s*<[^<>]*\/>\s*$/;

const ELEMENT_TEXT = '#text';
const ELEMENT_CDATA = '#cdata';

/** What the parser gives with `preserveOrder`: one property per item, a list or a text. */
type ParsedItem = Record<string, unknown>;

/**
 * Reads `text` as one document of the given shape; throws MalformedXML. Attributes and namespaces
 * are not looked at. The caller has capped the text's length.
 */
export function readXml(text: string, shape: XmlShape): XmlNode {
  const body = withoutDeclaration(text);
  if (body.includes('<?')) throw malformedXml('processing instructions are not allowed');
  if (DECLARATION_MARKUP.test(body)) throw malformedXml('a document type is not allowed');
  if (body.includes('\0')) throw malformedXml('a NUL character is not allowed');
  const verdict = XMLValidator.validate(body);
  if (verdict !== true) throw malformedXml(`line ${verdict.err.line}: ${verdict.err.msg}`);
  const top = parse(body);
  const first = top.length === 1 ? top[0] : undefined;
  if (first === undefined) throw malformedXml('exactly one root element is expected');
  // The validator does not look at what follows a self-closing root.
  if (!body.includes('</') && !ONLY_EMPTY_ROOT.test(body)) throw malformedXml('stray content');
  const node = toNode(first, shape.arrays);
  if (node.name !== shape.root) throw malformedXml(`the root element must be ${shape.root}`);
  return node;
}

/** Cuts the byte order mark and the XML declaration off; refuses encodings that we do not read. */
function withoutDeclaration(text: string): string {
  const start = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  const declaration = XML_DECLARATION.exec(start)?.[0];
  if (declaration === undefined) return start;
  const encoding = ENCODING.exec(declaration)?.[1];
  if (encoding !== undefined && !READABLE_ENCODING.test(encoding)) {
    throw malformedXml('the encoding must be UTF-8');
  }
  return start.slice(declaration.length);
}

function parse(body: string): ParsedItem[] {
  // A parser holds the state of one document, so each text gets its own.
  const parser = new XMLParser({
    preserveOrder: true,
    ignoreAttributes: true,
    removeNSPrefix: true,
    parseTagValue: false,
    trimValues: false,
    htmlEntities: true,
    // Decoded below: the library drops references such as &#x1; and passes unknown ones through.
    processEntities: false,
    textNodeName: ELEMENT_TEXT,
    cdataPropName: ELEMENT_CDATA,
    maxNestedTags: XML_DEPTH_MAX,
    jPath: false,
  });
  try {
    return parser.parse(body) as ParsedItem[];
  } catch (error) {
    throw malformedXml('the document could not be parsed', error);
  }
}

/** The one property of an item: a tag name, `#text` or `#cdata`. */
function propertyOf(item: ParsedItem): string {
  for (const name in item) return name;
  throw malformedXml('an element has no name');
}

function toNode(item: ParsedItem, arrays: readonly string[]): XmlNode {
  const name = propertyOf(item);
  const content = item[name];
  if (!Array.isArray(content)) throw malformedXml('text outside the root element');
  const children: XmlNode[] = [];
  let text = '';
  for (const inner of content as ParsedItem[]) {
    const property = propertyOf(inner);
    if (property === ELEMENT_TEXT) text += decodeReferences(String(inner[property]));
    else if (property === ELEMENT_CDATA) text += cdataText(inner[property]);
    else children.push(toNode(inner, arrays));
  }
  if (children.length === 0) return { name, text, children };
  if (text.trim() !== '') throw malformedXml(`${name} mixes text and elements`);
  refuseRepeated(name, children, arrays);
  return { name, text: '', children };
}

function cdataText(value: unknown): string {
  return Array.isArray(value) ? value.map((part) => String(part[ELEMENT_TEXT] ?? '')).join('') : '';
}

function refuseRepeated(
  parent: string,
  children: readonly XmlNode[],
  arrays: readonly string[],
): void {
  const single = children.filter((child) => !arrays.includes(child.name));
  if (single.length < 2) return;
  const seen = new Set<string>();
  for (const { name } of single) {
    if (seen.has(name)) throw malformedXml(`${parent} has more than one ${name}`);
    seen.add(name);
  }
}

const NAMED_REFERENCES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
]);
const REFERENCE = /&([^;&]*);/g;
const NUMERIC = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/;

/**
 * Character references to characters, once: `&amp;lt;` is `&lt;`. Beyond XML 1.0, references to
 * control characters are taken (`&#x1;`): S3 keys may hold them and clients write them so.
 */
function decodeReferences(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(REFERENCE, (whole, body: string) => {
    const named = NAMED_REFERENCES.get(body);
    if (named !== undefined) return named;
    const digits = NUMERIC.exec(body);
    if (digits === null) throw malformedXml(`${whole} is not defined`);
    const code = digits[1] === undefined ? Number(digits[2]) : Number.parseInt(digits[1], 16);
    if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      throw malformedXml(`${whole} is not a character`);
    }
    return String.fromCodePoint(code);
  });
}

/* ------------------------------------------------------------------ decoding nodes */

/** Refuses children that are not named here: what we do not know we would have to ignore. */
export function allowOnly(node: XmlNode, names: readonly string[]): void {
  for (const child of node.children) {
    if (!names.includes(child.name)) throw malformedXml(`${node.name} has no ${child.name}`);
  }
}

export function childrenNamed(node: XmlNode, name: string): XmlNode[] {
  return node.children.filter((child) => child.name === name);
}

/** The text of the child `name`, exactly as sent; `undefined` when there is none. */
export function childText(node: XmlNode, name: string): string | undefined {
  const child = node.children.find((candidate) => candidate.name === name);
  if (child !== undefined && child.children.length > 0) {
    throw malformedXml(`${name} must hold text only`);
  }
  return child?.text;
}

/** Like `childText`, but MalformedXML when the child is missing. */
export function requiredText(node: XmlNode, name: string): string {
  const value = childText(node, name);
  if (value === undefined) throw malformedXml(`${node.name} needs ${name}`);
  return value;
}

/** A decimal number without sign, surrounding white space tolerated; MalformedXML otherwise. */
export function childNumber(node: XmlNode, name: string): number | undefined {
  const value = childText(node, name)?.trim();
  if (value === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(value)) throw malformedXml(`${name} must be a number`);
  return Number(value);
}
