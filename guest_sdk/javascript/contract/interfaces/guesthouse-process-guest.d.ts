/// <reference path="./guesthouse-process-types.d.ts" />
declare module 'guesthouse:process/guest@0.1.0' {
  /**
   * Runs the process. It lives until this returns or traps.
   */
  export function run(our: Address): void;
  export type Address = import('guesthouse:process/types@0.1.0').Address;
}
