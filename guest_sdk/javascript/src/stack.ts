/**
 * Stack traces in the lines of the sources. The build puts a table of lines at the end of the bundle, which is
 * read when an error is logged.
 */

/** For each line of the bundle from the first: `source,line` of the sources, or nothing. */
export interface LineTable {
  bundle: string;
  sources: string[];
  /** Runs of lines: first line of the bundle, its source's index, its line there, how many. */
  runs: [number, number, number, number][];
}

declare global {
  // eslint-disable-next-line no-var
  var __guesthouseLines: LineTable | undefined;
}

/** What to log of something that was thrown. */
export function described(thrown: unknown): string {
  if (!(thrown instanceof Error)) return `thrown: ${String(thrown)}`;
  const title = `${thrown.name}: ${thrown.message}`;
  const frames = (thrown.stack ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !title.includes(line) && !isInternal(line))
    .map(inSources)
    .filter((line) => line !== undefined && !line.includes("guest_sdk/javascript/"))
    .map((line) => `    at ${line!.replace(/^at /, "").replace(/^(.*)@(.*)$/, "$1 ($2)")}`);
  const cause = thrown.cause === undefined ? [] : [`caused by ${described(thrown.cause)}`];
  return [title, ...frames, ...cause].join("\n");
}

function isInternal(line: string): boolean {
  return /\(native\)|Generator\.next|initializer\.js:|componentize-qjs:shim/.test(line);
}

/** A line of a stack with the place in the bundle replaced; `undefined` if that is of what esbuild adds. */
function inSources(line: string): string | undefined {
  const table = globalThis.__guesthouseLines;
  const place = /[^\s(@]+?:(\d+)(?::\d+)?(?=\)?$)/.exec(line);
  if (table === undefined || place === null) return line;
  const wanted = Number(place[1]);
  const run = table.runs.find(([first, , , count]) => wanted >= first && wanted < first + count);
  if (run === undefined) return undefined;
  return `${line.slice(0, place.index)}${table.sources[run[1]]}:${run[2] + wanted - run[0]}${line.slice(place.index + place[0].length)}`;
}
