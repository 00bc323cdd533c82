/**
 * The text of a bucket policy, taken apart and checked. Nothing is ignored: an element, operator,
 * condition key, action or resource that is not known, or has no effect where it stands, refuses the
 * policy with MalformedPolicy and, where they are known, with the words of S3.
 *
 * Source: IAM User Guide, "Grammar of the IAM JSON policy language"; Amazon S3 User Guide, "Policies
 * and permissions in Amazon S3".
 */
import { ACTIONS, type ResourceKind } from './actions.ts';
import { compileCondition } from './conditions.ts';
import { isObject, type Json, type JsonObject, parseStrictJson } from './json.ts';
import { normalizeKey, takesKey } from './keys.ts';
import { malformedPolicy } from './malformed.ts';
import {
  canBe,
  canContinue,
  compilePattern,
  matches,
  type Pattern,
  PatternError,
  variablesOf,
} from './pattern.ts';
import type { BucketPolicy, Condition, Statement } from './policy.ts';
import { parsePrincipals } from './principals.ts';
import { textList } from './text-list.ts';

/** The configuration of a bucket that holds its policy, as it was sent. */
export const POLICY_CONFIG = 'policy';

/** Largest policy of a bucket: 20 KiB. */
export const POLICY_BYTES_MAX = 20 * 1024;

/** Longer than the name of any action. */
const ACTION_CHARACTERS_MAX = 128;

const ARN = 'arn:aws:s3:::';

/** The policy of `bucket`. Throws MalformedPolicy. */
export function parsePolicy(text: string, bucket: string): BucketPolicy {
  if (Buffer.byteLength(text) > POLICY_BYTES_MAX) {
    throw malformedPolicy(
      `Normalized policy document exceeds the maximum allowed size of ${POLICY_BYTES_MAX} bytes.`,
    );
  }
  if (!text.startsWith('{')) {
    throw malformedPolicy("Policies must be valid JSON and the first byte must be '{'");
  }
  const root = parsed(text);
  allowOnly(root, ['Version', 'Id', 'Statement']);
  const version = root['Version'] ?? '2008-10-17';
  if (version !== '2012-10-17' && version !== '2008-10-17') {
    throw malformedPolicy('The policy must contain a valid version string');
  }
  const id = optionalText(root, 'Id');
  const list = root['Statement'];
  if (list === undefined) throw missing('Statement');
  const written = Array.isArray(list) ? (list as readonly Json[]) : [list];
  if (written.length === 0)
    throw malformedPolicy('Could not parse the policy: Statement is empty!');
  const reader = new StatementReader(bucket, version === '2012-10-17');
  const statements = written.map((statement) => reader.read(statement));
  return { version, id, statements, keys: new Set(statements.flatMap(keysOf)) };
}

function parsed(text: string): JsonObject {
  let value: Json;
  try {
    value = parseStrictJson(text);
  } catch (error) {
    throw malformedPolicy('This policy contains invalid Json', error);
  }
  if (!isObject(value)) throw malformedPolicy('This policy contains invalid Json');
  return value;
}

function allowOnly(object: JsonObject, names: readonly string[]): void {
  for (const name in object) {
    if (!names.includes(name)) throw malformedPolicy(`Unknown field ${name.slice(0, 100)}`);
  }
}

function missing(field: string): Error {
  return malformedPolicy(`Missing required field ${field}`);
}

function invalidSyntax(): Error {
  return malformedPolicy('Invalid policy syntax.');
}

function optionalText(object: JsonObject, name: string): string | undefined {
  const value = object[name];
  if (value === undefined || typeof value === 'string') return value;
  throw invalidSyntax();
}

const ELEMENTS = [
  'Sid',
  'Effect',
  'Principal',
  'NotPrincipal',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
];

/** The value of an element that may also be written as its opposite; exactly one of them must be. */
function either(object: JsonObject, name: string): { value: Json; except: boolean } {
  const value = object[name];
  const opposite = object[`Not${name}`];
  if (value !== undefined && opposite !== undefined) throw invalidSyntax();
  if (value !== undefined) return { value, except: false };
  if (opposite !== undefined) return { value: opposite, except: true };
  throw missing(name);
}

class StatementReader {
  readonly #bucket: string;
  readonly #variables: boolean;

  constructor(bucket: string, variables: boolean) {
    this.#bucket = bucket;
    this.#variables = variables;
  }

  read(written: Json): Statement {
    if (!isObject(written)) throw invalidSyntax();
    allowOnly(written, ELEMENTS);
    const sid = optionalText(written, 'Sid');
    const effect = written['Effect'];
    if (effect === undefined) throw missing('Effect');
    if (effect !== 'Allow' && effect !== 'Deny') {
      throw malformedPolicy(`Invalid effect: ${JSON.stringify(effect).slice(0, 100)}`);
    }
    const principal = either(written, 'Principal');
    if (principal.except && effect === 'Allow') {
      throw malformedPolicy('Allow with NotPrincipal is not allowed.');
    }
    const principals = parsePrincipals(principal.value);
    const action = either(written, 'Action');
    const patterns = this.#actions(action.value);
    const resource = either(written, 'Resource');
    const { resources, kinds: named } = this.#resources(resource.value);
    const conditions = this.#conditions(written['Condition']);
    const kinds = resource.except ? ALL_KINDS : named;
    if (!action.except) checkActions(patterns, kinds, conditions);
    const listed = new Set(patterns.flat());
    const actions = action.except
      ? new Set([...ACTIONS.keys()].filter((name) => !listed.has(name)))
      : listed;
    return {
      sid,
      effect,
      principals,
      exceptPrincipals: principal.except,
      actions,
      resources,
      exceptResources: resource.except,
      conditions,
    };
  }

  /** The actions that each pattern stands for. */
  #actions(value: Json): string[][] {
    const list = textList(value);
    if (list === undefined) throw malformedPolicy('Policy has invalid action');
    return list.map((written) => {
      if (written.length > ACTION_CHARACTERS_MAX)
        throw malformedPolicy('Policy has invalid action');
      const lower = written.toLowerCase();
      const pattern = this.#pattern(lower, false);
      const found =
        lower === '*' || lower.startsWith('s3:')
          ? [...ACTIONS.keys()].filter((name) => matches(pattern, name, nothing))
          : [];
      if (found.length === 0) throw malformedPolicy('Policy has invalid action');
      return found;
    });
  }

  /** Each must stand for something in this bucket; what all of them can stand for. */
  #resources(value: Json): { resources: Pattern[]; kinds: readonly ResourceKind[] } {
    const list = textList(value);
    if (list === undefined) throw invalidResource();
    const kinds = new Set<ResourceKind>();
    const resources = list.map((written) => {
      const pattern = this.#pattern(written, this.#variables);
      const own = written.startsWith(ARN) ? this.#kinds(pattern) : [];
      if (own.length === 0) throw invalidResource();
      for (const kind of own) kinds.add(kind);
      return pattern;
    });
    return { resources, kinds: [...kinds] };
  }

  #kinds(pattern: Pattern): ResourceKind[] {
    const bucketArn = `${ARN}${this.#bucket}`;
    const kinds: ResourceKind[] = [];
    if (canBe(pattern, bucketArn)) kinds.push('bucket');
    if (canContinue(pattern, `${bucketArn}/`)) kinds.push('object');
    return kinds;
  }

  #pattern(source: string, variables: boolean): Pattern {
    try {
      return compilePattern(source, { wildcards: true, variables }, normalizeKey);
    } catch (error) {
      if (error instanceof PatternError) throw invalidResource(error);
      throw error;
    }
  }

  #conditions(value: Json | undefined): Condition[] {
    if (value === undefined) return [];
    if (!isObject(value)) throw invalidSyntax();
    return Object.entries(value).flatMap(([operator, keys]) => {
      if (!isObject(keys)) throw invalidSyntax();
      const seen = new Set<string>();
      return Object.entries(keys).map(([key, values]) => {
        const condition = compileCondition(operator, key, valueList(values), this.#variables);
        // Names that differ in case only are the same name.
        if (seen.has(condition.key)) throw malformedPolicy('This policy contains invalid Json');
        seen.add(condition.key);
        return condition;
      });
    });
  }
}

const ALL_KINDS: readonly ResourceKind[] = ['bucket', 'object'];

function nothing(): undefined {
  return undefined;
}

function invalidResource(cause?: unknown): Error {
  return malformedPolicy('Policy has invalid resource', cause);
}

/** Every action must be one that some resource of the statement takes, and every condition one of its. */
function checkActions(
  patterns: readonly string[][],
  kinds: readonly ResourceKind[],
  conditions: readonly Condition[],
): void {
  for (const actions of patterns) {
    const apt = actions.filter((name) =>
      kinds.some((kind) => ACTIONS.get(name)?.resource === kind),
    );
    if (apt.length === 0) {
      throw malformedPolicy('Action does not apply to any resource(s) in statement');
    }
    if (conditions.some(({ key }) => !apt.some((name) => takesKey(name, key)))) {
      throw malformedPolicy(
        'Conditions do not apply to combination of actions and resources in statement',
      );
    }
  }
}

/** Texts, numbers and booleans, alone or in a list. */
function valueList(value: Json): string[] {
  const list: readonly Json[] = Array.isArray(value) ? value : [value];
  if (list.length === 0) throw invalidSyntax();
  return list.map((item) => {
    if (typeof item === 'string') return item;
    if (typeof item === 'number' || typeof item === 'boolean') return String(item);
    throw invalidSyntax();
  });
}

function keysOf({ resources, conditions }: Statement): string[] {
  return [
    ...resources.flatMap(variablesOf),
    ...conditions.flatMap(({ key, variables }) => [key, ...variables]),
  ].map((key) => key.slice(0, key.indexOf('/') + 1 || undefined));
}
