// What guesthouse.js exports is what types.d.ts says: checked by `tsc`, never run.
import * as real from "./guesthouse.js";
import type * as declared from "./types.d.ts";

export const checked: typeof declared = real;
