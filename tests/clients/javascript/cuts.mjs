// Run by Node with what to do as JSON: prints what happened as JSON.
import { connect } from "../../../clients/javascript/guesthouse.js";
import { echoThroughCuts } from "./echoes.mjs";

const { options, cuts, away, encrypted } = JSON.parse(process.argv[2]);
const channel = connect({ ...options, encrypted });
let before = 0;
const told = await echoThroughCuts(channel, { cuts, away, encrypted, halfway: () => (before = memory()) });
const after = memory();
await channel.close();
console.log(JSON.stringify({ ...told, grown: after - before }));

function memory() {
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}
