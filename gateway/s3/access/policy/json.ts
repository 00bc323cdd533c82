/** JSON without the one thing that `JSON.parse` hides: a name that comes twice in an object. */

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json };

export type JsonObject = { readonly [name: string]: Json };

/** Parses; throws SyntaxError for what is no JSON, and for an object with a repeated name. */
export function parseStrictJson(text: string): Json {
  const value = JSON.parse(text) as Json;
  refuseRepeatedNames(text);
  return value;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Walks a text that is known to be JSON: a text before a colon is a name of the object around it. */
function refuseRepeatedNames(text: string): void {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{' || character === '[') open.push(new Set());
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      if (isBeforeColon(text, end)) {
        const name = JSON.parse(text.slice(at, end)) as string;
        const names = open.at(-1);
        if (names?.has(name)) throw new SyntaxError(`the name ${name} comes twice`);
        names?.add(name);
      }
      at = end - 1;
    }
  }
}

function isBeforeColon(text: string, end: number): boolean {
  let at = end;
  while (' \t\r\n'.includes(text.charAt(at)) && at < text.length) at++;
  return text[at] === ':';
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}
