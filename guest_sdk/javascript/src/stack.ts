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
    .filter((line) => !isOurs(line))
    .map((line) => `    at ${line.replace(/^at /, "").replace(/^(.*)@(.*)$/, "$1 ($2)")}`);
  const cause = thrown.cause === undefined ? [] : [`caused by ${described(thrown.cause)}`];
  return [title, ...frames, ...cause].join("\n");
}

function isInternal(line: string): boolean {
  return /\(native\)|Generator\.next|initializer\.js:|componentize-qjs:shim/.test(line);
}

/** The SDK's own frames, and what esbuild adds to the bundle. */
function isOurs(line: string): boolean {
  const table = globalThis.__guesthouseLines;
  return line.includes("guest_sdk/javascript/") || (table !== undefined && line.includes(table.bundle));
}

/** A line of a stack with the places in the bundle replaced. */
function inSources(line: string): string {
  const table = globalThis.__guesthouseLines;
  if (table === undefined) return line;
  return line.replace(/[^\s(@]+?:(\d+)(?::\d+)?(?=\)?$)/, (place, number: string) => {
    const wanted = Number(number);
    const run = table.runs.find(([first, , , count]) => wanted >= first && wanted < first + count);
    if (run === undefined) return place;
    return `${table.sources[run[1]]}:${run[2] + wanted - run[0]}`;
  });
}
