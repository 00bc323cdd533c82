/**
 * Values of a condition key in this request; `undefined` when the request has none, which differs
 * from an empty text. Keys come in lower case, but for the tag's key in `s3:existingobjecttag/Team`.
 */
export type ConditionLookup = (key: string) => readonly string[] | undefined;
