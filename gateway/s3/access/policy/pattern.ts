/**
 * Texts with wildcards (`*` any characters, `?` exactly one) and policy variables (`${aws:username}`),
 * as resources and conditions of policies have them. No regular expression, no recursion, no
 * backtracking over `*`: the parts between stars are looked for from left to right, each once.
 *
 * Source: IAM User Guide, "Policy elements: Resource" and "Policy elements: Variables and tags".
 */
import type { ConditionLookup } from './lookup.ts';

/** What stands between two stars: texts with exactly one character between each two of them. */
type Part = readonly string[];

type Token =
  | { kind: 'text'; text: string }
  | { kind: 'one' }
  | { kind: 'any' }
  | { kind: 'variable'; key: string; fallback: string | undefined };

/** A compiled pattern. */
export interface Pattern {
  /** As written. */
  source: string;
  /** The parts between stars, for a pattern without variables. */
  parts: readonly Part[] | undefined;
  tokens: readonly Token[];
}

export interface PatternOptions {
  /** `*` and `?` mean something; otherwise they are themselves. */
  wildcards: boolean;
  /** `${…}` means something: only in policies of version 2012-10-17. */
  variables: boolean;
}

/** Thrown by `compilePattern` for a variable that cannot be. */
export class PatternError extends Error {}

/** The characters that a variable without a key stands for: `${*}`, `${?}`, `${$}`. */
const ESCAPED = ['*', '?', '$'];
const VARIABLE = /^([A-Za-z0-9]+:[^,\s]+)(?:\s*,\s*'([^']*)')?$/;

/** Throws PatternError. `keyOf` gives a variable's key its form for lookups, `undefined`: unknown. */
export function compilePattern(
  source: string,
  options: PatternOptions,
  keyOf: (key: string) => string | undefined,
): Pattern {
  if (!source.isWellFormed()) throw new PatternError('the text is not Unicode');
  const tokens: Token[] = [];
  let text = '';
  const flush = (): void => {
    if (text !== '') tokens.push({ kind: 'text', text });
    text = '';
  };
  for (let at = 0; at < source.length; at++) {
    const character = source.charAt(at);
    if (options.variables && character === '$' && source[at + 1] === '{') {
      const end = source.indexOf('}', at);
      if (end < 0) throw new PatternError('a variable is not closed');
      const name = source.slice(at + 2, end);
      at = end;
      if (ESCAPED.includes(name)) {
        text += name;
        continue;
      }
      flush();
      tokens.push(variableToken(name, keyOf));
    } else if (options.wildcards && (character === '*' || character === '?')) {
      flush();
      tokens.push({ kind: character === '*' ? 'any' : 'one' });
    } else text += character;
  }
  flush();
  const fixed = tokens.every((token) => token.kind !== 'variable');
  return { source, tokens, parts: fixed ? partsOf(tokens, () => undefined) : undefined };
}

function variableToken(name: string, keyOf: (key: string) => string | undefined): Token {
  const match = VARIABLE.exec(name);
  const key = match?.[1] === undefined ? undefined : keyOf(match[1]);
  if (key === undefined) throw new PatternError(`there is no variable ${name}`);
  return { kind: 'variable', key, fallback: match?.[2] };
}

/** Keys that the pattern's variables ask for. */
export function variablesOf(pattern: Pattern): string[] {
  return pattern.tokens.flatMap((token) => (token.kind === 'variable' ? [token.key] : []));
}

/** Whether the pattern stands for one fixed text. */
export function isFixed(pattern: Pattern): boolean {
  return pattern.tokens.every((token) => token.kind === 'text');
}

/** The parts between stars; `undefined` when a variable has no value, or more than one. */
function partsOf(tokens: readonly Token[], lookup: ConditionLookup): Part[] | undefined {
  const parts: string[][] = [];
  let part: string[] = [];
  let text = '';
  for (const token of tokens) {
    if (token.kind === 'text') text += token.text;
    else if (token.kind === 'variable') {
      const values = lookup(token.key);
      const value = values?.length === 1 ? values[0] : token.fallback;
      // Stars inside a value are characters like any other.
      if (value === undefined || !value.isWellFormed()) return undefined;
      text += value;
    } else {
      part.push(text);
      text = '';
      if (token.kind === 'any') {
        parts.push(part);
        part = [];
      }
    }
  }
  parts.push([...part, text]);
  return parts;
}

/** Whether all of `text` fits the pattern. A variable without a value fits nothing. */
export function matches(pattern: Pattern, text: string, lookup: ConditionLookup): boolean {
  const parts = pattern.parts ?? partsOf(pattern.tokens, lookup);
  return parts !== undefined && matchParts(parts, text);
}

/** Compares without regard to case. */
export function matchesIgnoringCase(
  pattern: Pattern,
  text: string,
  lookup: ConditionLookup,
): boolean {
  const parts = pattern.parts ?? partsOf(pattern.tokens, lookup);
  return (
    parts !== undefined &&
    matchParts(
      parts.map((part) => part.map((piece) => piece.toLowerCase())),
      text.toLowerCase(),
    )
  );
}

const NOTHING: Part = [''];

function matchParts(parts: readonly Part[], text: string): boolean {
  let at = matchAt(parts[0] ?? NOTHING, text, 0);
  if (parts.length === 1) return at === text.length;
  const end = matchBack(parts.at(-1) ?? NOTHING, text);
  if (at < 0 || end < at) return false;
  for (let index = 1; index < parts.length - 1; index++) {
    at = find(parts[index] ?? NOTHING, text, at);
    if (at < 0 || at > end) return false;
  }
  return true;
}

/** Where `part` ends when it begins at `at`; −1 when it does not fit. */
function matchAt(part: Part, text: string, at: number): number {
  let position = at;
  for (let index = 0; index < part.length; index++) {
    if (index > 0) {
      if (position >= text.length) return -1;
      position += isPair(text, position) ? 2 : 1;
    }
    const piece = part[index] ?? '';
    if (!text.startsWith(piece, position)) return -1;
    position += piece.length;
  }
  return position;
}

/** Where `part` begins when it ends with the text; −1 when it does not fit. */
function matchBack(part: Part, text: string): number {
  let position = text.length;
  for (let index = part.length - 1; index >= 0; index--) {
    const piece = part[index] ?? '';
    if (piece.length > position || !text.endsWith(piece, position)) return -1;
    position -= piece.length;
    if (index > 0) {
      if (position <= 0) return -1;
      position -= position > 1 && isPair(text, position - 2) ? 2 : 1;
    }
  }
  return position;
}

/** Where the leftmost occurrence of `part` at or after `at` ends; −1 when there is none. */
function find(part: Part, text: string, at: number): number {
  const first = part[0] ?? '';
  // The next place where the part may begin: behind the next occurrence of its first text.
  for (let start = text.indexOf(first, at); start >= 0; start = text.indexOf(first, start + 1)) {
    if (start > 0 && isPair(text, start - 1)) continue;
    const end = matchAt(part, text, start);
    if (end >= 0) return end;
    if (start >= text.length) return -1;
  }
  return -1;
}

/** Whether a character outside the basic plane begins here: two UTF-16 units. */
function isPair(text: string, at: number): boolean {
  return (text.codePointAt(at) ?? 0) > 0xffff;
}

/** Whether the pattern fits the text when its variables may stand for anything. */
export function canBe(pattern: Pattern, text: string): boolean {
  return reachable(pattern, text).has(lengthOf(pattern));
}

/** The same for some text that is `prefix` and at least one more character. */
export function canContinue(pattern: Pattern, prefix: string): boolean {
  const end = lengthOf(pattern);
  return [...reachable(pattern, prefix)].some((state) => state < end);
}

/** A character, `one` for any, or nothing for stars and variables. */
type Item = string | typeof ONE;

const ONE = Symbol('one');

function itemsOf(pattern: Pattern): Item[] {
  return pattern.tokens.flatMap((token): Item[] =>
    token.kind === 'text' ? Array.from(token.text) : [token.kind === 'one' ? ONE : ''],
  );
}

function lengthOf(pattern: Pattern): number {
  return itemsOf(pattern).length;
}

/** How many items the text may have used up: all possibilities at once. */
function reachable(pattern: Pattern, text: string): Set<number> {
  const items = itemsOf(pattern);
  let live = closure(new Set([0]), items);
  for (const character of text) {
    const next = new Set<number>();
    for (const state of live) {
      const item = items[state];
      if (item === '') next.add(state);
      else if (item === ONE || item === character) next.add(state + 1);
    }
    live = closure(next, items);
  }
  return live;
}

/** Adds what is reached by letting stars stand for nothing. */
function closure(states: Set<number>, items: readonly Item[]): Set<number> {
  for (const state of states) if (items[state] === '') states.add(state + 1);
  return states;
}
