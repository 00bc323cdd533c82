/** The package's version: kept equal to package.json by `test/tidy.test.ts`. */
export const VERSION = '0.1.0';
