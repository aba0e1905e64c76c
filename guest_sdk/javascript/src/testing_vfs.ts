/** `vfs:distro:sys` of the host for tests: its answers are those of a node. */

import { type Answer, isFields, taggedAction } from "./testing_kv.ts";

/** Bytes that a file or a folder counts besides its path and content. */
const OVERHEAD = 128;
const MAX_PATH = 1024;
const PACKAGE_DRIVE = "pkg";

/** The content of each file by its path, drive first, and `null` for each folder. */
type Tree = Map<string, Uint8Array | null>;

/** The node's word for why not, such as `NotFound`. */
class Refused extends Error {}
class BadRequest extends Error {}

/** Drives of the package. */
export class FakeVfs {
  /** Bytes that all of it may take. */
  quota = 2 ** 28;
  readonly #package: string;
  readonly #packageFiles: () => Iterable<[string, string | Uint8Array]>;
  #files: Tree = new Map();

  /**
   * @param packageId such as `app:test.os`.
   * @param packageFiles what came with the package, by paths in the drive `pkg`.
   */
  constructor(packageId: string, packageFiles: () => Iterable<[string, string | Uint8Array]>) {
    this.#package = packageId;
    this.#packageFiles = packageFiles;
  }

  /** Answer a request. */
  carryOut(body: Record<string, unknown>, blob: Uint8Array | undefined): Answer {
    try {
      return this.#act(body, blob);
    } catch (error) {
      if (error instanceof BadRequest) return { body: { Err: { BadRequest: { error: error.message } } } };
      if (!(error instanceof Refused)) throw error;
      return { body: { Err: { [error.message]: { path: body["path"], error: error.message } } } };
    }
  }

  #act(body: Record<string, unknown>, blob: Uint8Array | undefined): Answer {
    const path = this.#path(body["path"]);
    const tagged = taggedAction(body["action"]);
    if (tagged === undefined) throw new BadRequest("an action is a name, or an object with one name");
    const [name, given] = tagged;
    const fields = isFields(given) ? given : {};
    switch (name) {
      case "Read":
        return { body: "Read", blob: this.#read(path) };
      case "ReadDir":
        return { body: { ReadDir: this.#entries(path) } };
      case "Metadata": {
        const content = this.#found(path);
        return { body: { Metadata: { len: content?.length ?? 0, file_type: typeOf(content) } } };
      }
      case "CreateDirAll":
        this.#makeFolder(path);
        break;
      case "OpenFile":
        if (!this.#tree(path).get(path) && fields["create"] === true) this.#write(path, new Uint8Array());
        this.#read(path);
        break;
      case "Write":
        this.#write(path, content(blob));
        break;
      case "Append":
        this.#write(path, Uint8Array.from([...this.#read(path), ...content(blob)]));
        break;
      case "RemoveFile":
        this.#remove(path, { isFolder: false, whole: false });
        break;
      case "RemoveDir":
      case "RemoveDirAll":
        this.#remove(path, { isFolder: true, whole: name === "RemoveDirAll" });
        break;
      case "Rename":
      case "CopyFile":
        this.#copy(path, this.#path(fields["new_path"]), name === "CopyFile");
        break;
      default:
        throw new BadRequest(`no action is named ${name}`);
    }
    return { body: "Ok" };
  }

  #tree(path: string): Tree {
    if (driveOf(path) !== PACKAGE_DRIVE) return this.#files;
    const tree: Tree = new Map([[PACKAGE_DRIVE, null]]);
    for (const [file, given] of this.#packageFiles()) {
      const whole = `${PACKAGE_DRIVE}/${file}`;
      for (const folder of above(whole)) tree.set(folder, null);
      tree.set(whole, typeof given === "string" ? new TextEncoder().encode(given) : given);
    }
    return tree;
  }

  #found(path: string): Uint8Array | null {
    const found = this.#tree(path).get(path);
    if (found === undefined) throw new Refused("NotFound");
    return found;
  }

  #read(path: string): Uint8Array {
    const found = this.#found(path);
    if (found === null) throw new Refused("NotFound");
    return found;
  }

  #entries(path: string): object[] {
    if (this.#found(path) !== null) throw new Refused("NotFound");
    const inside = [...this.#tree(path)].filter(([each]) => each.startsWith(`${path}/`) && !each.slice(path.length + 1).includes("/"));
    inside.sort(([one], [other]) => (one < other ? -1 : 1));
    return inside.map(([each, found]) => ({ path: `${this.#package}/${each}`, file_type: typeOf(found) }));
  }

  #write(path: string, bytes: Uint8Array): void {
    this.#checkWritable(path);
    if (!path.includes("/") || this.#files.get(path) === null) throw new Refused("AlreadyExists");
    this.#checkRoom(path, bytes.length);
    this.#makeFolders(above(path));
    this.#files.set(path, Uint8Array.from(bytes));
  }

  #makeFolder(path: string): void {
    if (path === PACKAGE_DRIVE) return;
    this.#checkWritable(path);
    this.#checkRoom(path, 0);
    this.#makeFolders([...above(path), path]);
  }

  #makeFolders(folders: string[]): void {
    if (folders.some((folder) => this.#files.get(folder))) throw new Refused("AlreadyExists");
    for (const folder of folders) this.#files.set(folder, null);
  }

  #remove(path: string, { isFolder, whole }: { isFolder: boolean; whole: boolean }): void {
    this.#checkWritable(path);
    if ((this.#found(path) === null) !== isFolder) throw new Refused("NotFound");
    const inside = [...this.#files.keys()].filter((each) => each.startsWith(`${path}/`));
    if (!whole && inside.length > 0) throw new Refused("NotEmpty");
    for (const each of [path, ...inside]) this.#files.delete(each);
  }

  #copy(path: string, target: string, keep: boolean): void {
    const bytes = this.#read(path);
    this.#checkWritable(path);
    const before = new Map(this.#files);
    try {
      if (!keep) this.#remove(path, { isFolder: false, whole: false });
      this.#write(target, bytes);
    } catch (error) {
      this.#files = before;
      throw error;
    }
  }

  #checkWritable(path: string): void {
    if (driveOf(path) === PACKAGE_DRIVE) throw new Refused("ReadOnly");
  }

  #checkRoom(path: string, length: number): void {
    const missing = [...above(path), path].filter((each) => each === path || !this.#files.has(each));
    let bytes = length + missing.reduce((sum, each) => sum + each.length + OVERHEAD, 0);
    for (const [each, found] of this.#files) if (each !== path) bytes += each.length + (found?.length ?? 0) + OVERHEAD;
    if (bytes > this.quota) throw new Refused("QuotaExceeded");
  }

  #path(text: unknown): string {
    if (typeof text !== "string") throw new BadRequest("path is missing, or not of type str");
    if ([...text].length > MAX_PATH || /[\p{Cc}\\]/u.test(text)) {
      throw new BadRequest(`a path has at most ${MAX_PATH} characters, printable and no backslashes`);
    }
    const [first, ...given] = text.split("/").filter((part) => part !== "" && part !== ".");
    const parts: string[] = [];
    for (const part of given) {
      if (part !== "..") parts.push(part);
      else if (parts.pop() === undefined) throw new BadRequest("a path must not leave the drives of its package");
    }
    if (parts.length === 0) throw new BadRequest("a path has the form /package:publisher/drive/…");
    if (first !== this.#package) throw new Refused("NoCap");
    return parts.join("/");
  }
}

function content(blob: Uint8Array | undefined): Uint8Array {
  if (blob === undefined) throw new BadRequest("the content is the request's blob, and there is none");
  return blob;
}

function typeOf(found: Uint8Array | null): string {
  return found === null ? "Directory" : "File";
}

function driveOf(path: string): string {
  return path.split("/", 1)[0]!;
}

/** The folders that a path is in, the drive first. */
function above(path: string): string[] {
  const parts = path.split("/");
  return parts.slice(1).map((_, place) => parts.slice(0, place + 1).join("/"));
}
