/** The little of Node.js that `testing.ts` uses, for projects without `@types/node`. */

declare module "node:vm" {
  export function createContext(values: Record<string, unknown>): Record<string, unknown>;
  export class Script {
    constructor(code: string, options?: { filename: string });
    runInContext(context: Record<string, unknown>): unknown;
  }
}
declare module "node:crypto" {
  export function randomFillSync<T extends Uint8Array>(bytes: T): T;
}
declare module "node:path" {
  export function resolve(path: string): string;
}
declare class URL {
  constructor(url: string, base: string);
  readonly searchParams: Iterable<[string, string]>;
}
