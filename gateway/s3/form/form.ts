/** A browser's form as PostObject sees it, whoever takes `multipart/form-data` apart. */
import type { ByteSource } from '../request.ts';

/** A field as the form carries it. */
export interface FormField {
  /** As written; S3 does not care about its case. */
  name: string;
  value: string;
}

/** The one file of a form. */
export interface FormFile {
  /** Without folders; empty when the form names none. */
  name: string;
  /**
   * Its content. It ends only when the whole form has arrived and was sound: throws
   * MalformedPOSTRequest otherwise, and IncorrectNumberOfFilesInPostRequest for a second file.
   */
  body: ByteSource;
}

/** What stands before the file, and the file. What comes after it does not count, as on AWS. */
export interface Form {
  fields: FormField[];
  file: FormFile | undefined;
}

/** How the client wants success to be told. */
export interface FormReply {
  /** `success_action_redirect`; undefined when there is none or it is no http URL. */
  redirect: string | undefined;
  /** `success_action_status`; 204 for whatever else was asked for. */
  status: 200 | 201 | 204;
}

/** What a form may hold before its file, as S3 limits it. */
export const FORM_LIMITS = {
  /** Names, values and headers of all fields together. */
  fieldBytes: 20 * 1024,
  fields: 100,
} as const;

/**
 * Reads the fields of a form and stops where its file begins. Throws MalformedPOSTRequest and
 * MaxPostPreDataLengthExceededError.
 */
export type ReadForm = (body: ByteSource, contentType: string) => Promise<Form>;
