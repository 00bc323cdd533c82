/** What a bucket policy says of a request. Pure; the order of statements does not matter. */
import { Failure } from '../../../../base/failure.ts';
import { ACTIONS } from './actions.ts';
import { matches } from './pattern.ts';
import type { BucketPolicy, PolicyDecision, PolicyRequest, Statement } from './policy.ts';
import { namesPrincipal } from './principals.ts';

/**
 * `deny` when any statement denies the request, else `allow` when any allows it, else `none`. Throws
 * Failure `internal` for an action that S3 does not have: no statement could speak of it.
 *
 * Source: IAM User Guide, "Policy evaluation logic".
 */
export function evaluate(policy: BucketPolicy, request: PolicyRequest): PolicyDecision {
  const action = request.action.toLowerCase();
  if (!ACTIONS.has(action)) {
    throw new Failure('internal', `${request.action} is not an action of S3`);
  }
  let decision: PolicyDecision = 'none';
  for (const statement of policy.statements) {
    if (decision === 'allow' && statement.effect === 'Allow') continue;
    if (!speaksOf(statement, action, request)) continue;
    if (statement.effect === 'Deny') return 'deny';
    decision = 'allow';
  }
  return decision;
}

/** Cheap tests first; conditions may look things up. */
function speaksOf(statement: Statement, action: string, request: PolicyRequest): boolean {
  const { principals, exceptPrincipals, actions, resources, exceptResources } = statement;
  if (!actions.has(action)) return false;
  if (namesPrincipal(principals, request.principal) === exceptPrincipals) return false;
  const { resource, condition } = request;
  const named = resources.some((pattern) => matches(pattern, resource, condition));
  if (named === exceptResources) return false;
  return statement.conditions.every(({ holds }) => holds(condition));
}
