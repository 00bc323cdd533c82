/**
 * The notifications of a bucket as they are kept: which events go to which target. Pure.
 *
 * Source: "Configuring event notifications" and "Supported event types", Amazon S3 User Guide.
 */
import { EVENT_TYPES, type EventType } from '../../meta/protocol.ts';
import { S3Error } from './errors.ts';

export const NOTIFICATION_CONFIG = 'notification';

/** What a rule calls its target: `Queue` and the like in its XML. */
export type TargetKind = 'Topic' | 'Queue' | 'CloudFunction';

export interface NotificationRule {
  id: string;
  kind: TargetKind;
  arn: string;
  /** With the prefix `s3:`, as sent. */
  events: string[];
  prefix?: string | undefined;
  suffix?: string | undefined;
}

export interface NotificationConfig {
  rules: NotificationRule[];
}

export function parseNotifications(text: string): NotificationConfig {
  return JSON.parse(text) as NotificationConfig;
}

export function encodeNotifications(config: NotificationConfig): string {
  return JSON.stringify(config);
}

/* ------------------------------------------------------------------ validation */

const NAMES: ReadonlySet<string> = new Set([
  ...EVENT_TYPES.map((type) => `s3:${type}`),
  's3:ObjectCreated:*',
  's3:ObjectRemoved:*',
  's3:ObjectTagging:*',
  's3:LifecycleExpiration:*',
  's3:Replication:*',
]);

/** Events that S3 has and that never happen here: whoever waits for them would wait in vain. */
const NEVER =
  /^s3:(ReducedRedundancyLostObject|ObjectRestore:(\*|Post|Completed|Delete)|LifecycleTransition|IntelligentTiering|Replication:Operation(MissedThreshold|ReplicatedAfterThreshold|NotTracked))$/;

/** As on AWS. */
const RULES_MAX = 100;

const SERVICES: Readonly<Record<TargetKind, string>> = {
  Topic: 'sns',
  Queue: 'sqs',
  CloudFunction: 'lambda',
};

/** The name of the target in `arn:aws:sqs:REGION:ACCOUNT:NAME`; undefined for what is no such ARN. */
export function targetOfArn(kind: TargetKind, arn: string): string | undefined {
  const match =
    /^arn:[a-z-]+:(sqs|sns|lambda|ashlar):[^:\s]*:[^:\s]*:(?:function:)?([\w.-]{1,64})$/.exec(arn);
  if (match === null) return undefined;
  return match[1] === 'ashlar' || match[1] === SERVICES[kind] ? match[2] : undefined;
}

function invalid(message: string, details: Record<string, string> = {}): S3Error {
  return new S3Error('InvalidArgument', { message, details });
}

/** Refused as AWS refuses a destination that it cannot reach. */
export function unreachableTarget(arn: string, reason: string): S3Error {
  return invalid('Unable to validate the following destination configurations', {
    ArgumentName1: arn,
    ArgumentValue1: reason,
  });
}

/** Throws InvalidArgument, and NotImplemented for events that never happen here. */
export function checkNotifications(
  { rules }: NotificationConfig,
  hasTarget: (name: string) => boolean,
): void {
  if (rules.length > RULES_MAX) {
    throw new S3Error('InvalidRequest', {
      message: `A bucket has at most ${RULES_MAX} event notification configurations.`,
    });
  }
  const ids = new Set<string>();
  for (const rule of rules) {
    if (ids.has(rule.id)) {
      throw invalid('Same ID used for multiple configurations. IDs must be unique', {
        ArgumentName: 'Id',
        ArgumentValue: rule.id,
      });
    }
    ids.add(rule.id);
    checkEvents(rule);
    const name = targetOfArn(rule.kind, rule.arn);
    if (name === undefined) {
      throw invalid('The ARN is not well formed', {
        ArgumentName: rule.kind,
        ArgumentValue: rule.arn,
      });
    }
    if (!hasTarget(name)) {
      throw unreachableTarget(rule.arn, 'The destination does not exist');
    }
  }
  refuseOverlaps(rules);
}

function checkEvents({ events }: NotificationRule): void {
  for (const name of events) {
    if (NAMES.has(name)) continue;
    if (NEVER.test(name)) {
      throw new S3Error('NotImplemented', {
        message: `The event ${name} never happens here.`,
        details: { ArgumentName: 'Event', ArgumentValue: name },
      });
    }
    throw invalid('The event is not supported for notifications', {
      ArgumentName: 'Event',
      ArgumentValue: name,
    });
  }
}

/** No event may have two destinations by two rules of one bucket. */
function refuseOverlaps(rules: readonly NotificationRule[]): void {
  const wanted = rules.map((rule) => EVENT_TYPES.filter((type) => wants(rule, type)));
  for (const [index, one] of rules.entries()) {
    for (const [at, other] of rules.entries()) {
      const types = wanted[at] ?? [];
      if (at <= index || !overlap(one, other)) continue;
      if (wanted[index]?.some((type) => types.includes(type)) === true) {
        throw invalid(
          'Configurations overlap. Configurations on the same bucket cannot share a common event type.',
        );
      }
    }
  }
}

/** Whether a key may fit both. */
function overlap(one: NotificationRule, other: NotificationRule): boolean {
  const [first = '', second = ''] = [one.prefix, other.prefix];
  const [head = '', tail = ''] = [one.suffix, other.suffix];
  return (
    (first.startsWith(second) || second.startsWith(first)) &&
    (head.endsWith(tail) || tail.endsWith(head))
  );
}

/* ------------------------------------------------------------------ matching */

function wants({ events }: NotificationRule, type: EventType): boolean {
  return events.some((name) =>
    name.endsWith('*') ? `s3:${type}`.startsWith(name.slice(0, -1)) : name === `s3:${type}`,
  );
}

/** Whether the rule has an event of this type about this key told. */
export function ruleMatches(rule: NotificationRule, type: EventType, key: string): boolean {
  const { prefix = '', suffix = '' } = rule;
  return key.startsWith(prefix) && key.endsWith(suffix) && wants(rule, type);
}
