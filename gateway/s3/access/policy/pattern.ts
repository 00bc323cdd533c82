/**
 * Texts with wildcards (`*` any characters, `?` exactly one) and policy variables (`${aws:username}`),
 * as resources and conditions of policies have them. No regular expression, no recursion, no
 * backtracking: the parts between stars are looked for from left to right, each once.
 *
 * Source: IAM User Guide, "Policy elements: Resource" and "Policy elements: Variables and tags".
 */
import type { ConditionLookup } from './lookup.ts';

/** What stands between two stars: texts with exactly one character between each two of them. */
interface Part {
  pieces: readonly string[];
  /** Made at the first use, for a part with more than one piece. */
  search?: MarkSearch | undefined;
}

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
      // Two stars are one.
      const again = character === '*' && tokens.at(-1)?.kind === 'any';
      if (!again) tokens.push({ kind: character === '*' ? 'any' : 'one' });
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

/** The parts between stars; `undefined` when a variable has no value, or more than one. */
function partsOf(tokens: readonly Token[], lookup: ConditionLookup): Part[] | undefined {
  const parts: Part[] = [];
  let pieces: string[] = [];
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
      pieces.push(text);
      text = '';
      if (token.kind === 'any') {
        parts.push({ pieces });
        pieces = [];
      }
    }
  }
  parts.push({ pieces: [...pieces, text] });
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
      parts.map(({ pieces }) => ({ pieces: pieces.map((piece) => piece.toLowerCase()) })),
      text.toLowerCase(),
    )
  );
}

const NOTHING: Part = { pieces: [''] };

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
function matchAt({ pieces }: Part, text: string, at: number): number {
  let position = at;
  for (let index = 0; index < pieces.length; index++) {
    if (index > 0) {
      if (position >= text.length) return -1;
      position += isPair(text, position) ? 2 : 1;
    }
    const piece = pieces[index] ?? '';
    if (!text.startsWith(piece, position)) return -1;
    position += piece.length;
  }
  return position;
}

/** Where `part` begins when it ends with the text; −1 when it does not fit. */
function matchBack({ pieces }: Part, text: string): number {
  let position = text.length;
  for (let index = pieces.length - 1; index >= 0; index--) {
    const piece = pieces[index] ?? '';
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
  const { pieces } = part;
  if (pieces.length > 1) return (part.search ??= new MarkSearch(pieces)).end(text, at);
  const piece = pieces[0] ?? '';
  const start = text.indexOf(piece, at);
  return start < 0 ? -1 : start + piece.length;
}

/**
 * Looks for a part with question marks: the Shift-And algorithm, one bit for each character of the
 * part, so that the time is that of text times part, divided by 32.
 */
class MarkSearch {
  /** Per character the places in the part where it fits. */
  readonly #masks = new Map<number, Uint32Array>();
  /** The places where any character fits. */
  readonly #marks: Uint32Array;
  readonly #length: number;

  constructor(pieces: readonly string[]) {
    const characters: (number | undefined)[] = [];
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) characters.push(undefined);
      for (const character of Array.from(piece)) characters.push(character.codePointAt(0));
    }
    this.#length = characters.length;
    this.#marks = new Uint32Array(Math.ceil(this.#length / 32));
    for (const [at, character] of characters.entries()) {
      if (character === undefined) setBit(this.#marks, at);
    }
    for (const [at, character] of characters.entries()) {
      if (character === undefined) continue;
      let mask = this.#masks.get(character);
      if (mask === undefined) this.#masks.set(character, (mask = this.#marks.slice()));
      setBit(mask, at);
    }
  }

  /** Where the leftmost occurrence at or after `at` ends; −1 when there is none. */
  end(text: string, at: number): number {
    const state = new Uint32Array(this.#marks.length);
    const last = state.length - 1;
    const top = 1 << ((this.#length - 1) % 32);
    for (let position = at; position < text.length; ) {
      const character = text.codePointAt(position) ?? 0;
      position += character > 0xffff ? 2 : 1;
      const mask = this.#masks.get(character) ?? this.#marks;
      let carry = 1;
      for (let word = 0; word <= last; word++) {
        const before = state[word] ?? 0;
        state[word] = ((before << 1) | carry) & (mask[word] ?? 0);
        carry = before >>> 31;
      }
      if (((state[last] ?? 0) & top) !== 0) return position;
    }
    return -1;
  }
}

function setBit(bits: Uint32Array, at: number): void {
  const word = Math.floor(at / 32);
  bits[word] = (bits[word] ?? 0) | (1 << (at % 32));
}

/** Whether a character outside the basic plane begins here: two UTF-16 units. */
function isPair(text: string, at: number): boolean {
  return (text.codePointAt(at) ?? 0) > 0xffff;
}

/** Whether the pattern fits the text when its variables may stand for anything. */
export function canBe(pattern: Pattern, text: string): boolean {
  return reachable(pattern, text).at(-1) === 1;
}

/** The same for some text that is `prefix` and at least one more character. */
export function canContinue(pattern: Pattern, prefix: string): boolean {
  return reachable(pattern, prefix).subarray(0, -1).includes(1);
}

/** A character, `one` for any, or nothing for stars and variables. */
type Item = string | typeof ONE;

const ONE = Symbol('one');

function itemsOf(pattern: Pattern): Item[] {
  return pattern.tokens.flatMap((token): Item[] =>
    token.kind === 'text' ? Array.from(token.text) : [token.kind === 'one' ? ONE : ''],
  );
}

/** Per number of items whether the text may have used up so many: all possibilities at once. */
function reachable(pattern: Pattern, text: string): Uint8Array {
  const items = itemsOf(pattern);
  let live = new Uint8Array(items.length + 1);
  live[0] = 1;
  skipStars(live, items);
  for (const character of text) {
    const next = new Uint8Array(live.length);
    for (let index = 0; index < items.length; index++) {
      if (live[index] !== 1) continue;
      const item = items[index];
      if (item === '') next[index] = 1;
      else if (item === ONE || item === character) next[index + 1] = 1;
    }
    skipStars(next, items);
    live = next;
  }
  return live;
}

/** Stars may stand for nothing. */
function skipStars(live: Uint8Array, items: readonly Item[]): void {
  for (let index = 0; index < items.length; index++) {
    if (items[index] === '' && live[index] === 1) live[index + 1] = 1;
  }
}
