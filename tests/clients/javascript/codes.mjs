// Reads close codes and reasons as JSON; prints the name of each one's error, and what is to be done.
import { readFileSync } from "node:fs";
import { errorOf } from "../../../clients/javascript/guesthouse.js";

const errors = JSON.parse(readFileSync(0, "utf8")).map(([code, reason]) => errorOf(code, reason));
console.log(JSON.stringify(errors.map(({ name, retry }) => [name, retry])));
