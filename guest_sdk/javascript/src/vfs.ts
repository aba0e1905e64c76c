/** Files, durable and shared by the processes of a package: `vfs:distro:sys`. */

import { decodeUtf8, encodeUtf8 } from "./encoding.ts";
import { GuestError } from "./errors.ts";
import type { IncomingResponse } from "./messaging.ts";
import { askModule, Refusal } from "./modules.ts";
import { ourId } from "./system.ts";

/** An operation on a file or a folder was refused, and changed nothing. */
export class VfsError extends GuestError {
  readonly path: string;

  constructor(path: string, reason: string) {
    super(`${path}: ${reason}`);
    this.path = path;
  }
}
/** There is no such file, or no such folder. */
export class NotFound extends VfsError {}
/** There is a folder where a file would be, or a file where a folder would be. */
export class AlreadyExists extends VfsError {}
/** The drive `pkg` cannot be changed. */
export class ReadOnly extends VfsError {}
/** The folder has entries. */
export class NotEmpty extends VfsError {}
/** More than the node allows (`process.drive_bytes`), or a file of `pkg` that is too large to be read. */
export class DriveFull extends VfsError {}
/** The node could not read or write it; its log says why. */
export class NotStored extends VfsError {}

const ERRORS: Record<string, [new (path: string, reason: string) => VfsError, string]> = {
  NotFound: [NotFound, "there is none"],
  AlreadyExists: [AlreadyExists, "there is a file or folder of that name in the way"],
  ReadOnly: [ReadOnly, "the drive pkg has the package's own files, which cannot be changed"],
  NotEmpty: [NotEmpty, "the folder is not empty"],
  QuotaExceeded: [DriveFull, "it is more than the node allows: delete files"],
  IOError: [NotStored, "the node could not read or write it; its log says why"],
};

/** A file or a folder in a folder. */
export interface Entry {
  readonly name: string;
  readonly isFolder: boolean;
}

/**
 * A drive of the package. It is there with its first file; `pkg` has the files that came with the package, to be read. The
 * manifest needs `request-capabilities = ["vfs:distro:sys"]`.
 *
 * A path is `a.txt` or `folder/a.txt`, `""` the drive itself. `..` is refused, so a path from a client cannot leave the
 * drive. A change is made whole or not at all, and is durable when its promise is fulfilled. A method is rejected with
 * `VfsError`, whose subclass says why, `NotAuthorised`, `SendError` or `RangeError`.
 */
export class Drive {
  readonly name: string;

  /** @param name one part of a path, such as `notes`. */
  constructor(name: string) {
    if (name === "" || name === "." || name === ".." || name.includes("/")) {
      throw new RangeError(`${JSON.stringify(name)} is no name of a drive: write one such as notes`);
    }
    this.name = name;
  }

  /** The content of a file. @throws NotFound there is none. */
  async read(path: string): Promise<Uint8Array> {
    return (await this.#ask(path, "Read")).blob?.bytes ?? new Uint8Array();
  }

  /** The content of a file in UTF-8. @throws NotFound there is none. */
  async readText(path: string): Promise<string> {
    return decodeUtf8(await this.read(path));
  }

  /** Replace a file or create it, with the folders that it is in. A string is written as UTF-8. */
  async write(path: string, content: string | Uint8Array): Promise<void> {
    await this.#ask(path, "Write", bytesOf(content));
  }

  /** Add to the end of a file, or create it. The node writes the whole file again, so append to small ones. */
  async append(path: string, content: string | Uint8Array): Promise<void> {
    const bytes = bytesOf(content);
    try {
      await this.#ask(path, "Append", bytes);
    } catch (error) {
      if (!(error instanceof NotFound)) throw error;
      await this.#ask(path, { OpenFile: { create: true } });
      await this.#ask(path, "Append", bytes);
    }
  }

  /** Remove a file. @throws NotFound there is none. */
  async delete(path: string): Promise<void> {
    await this.#ask(path, "RemoveFile");
  }

  /** Whether there is a file or a folder. */
  async exists(path: string): Promise<boolean> {
    try {
      await this.#ask(path, "Metadata");
      return true;
    } catch (error) {
      if (error instanceof NotFound) return false;
      throw error;
    }
  }

  /** The bytes of a file; 0 for a folder. @throws NotFound there is none. */
  async size(path: string): Promise<number> {
    const answer = (await this.#ask(path, "Metadata")).json() as { Metadata: { len: number } };
    return answer.Metadata.len;
  }

  /** What is in a folder, at most 10,000 entries, in the order of their names. @throws NotFound there is no such folder. */
  async list(path = ""): Promise<Entry[]> {
    const answer = (await this.#ask(path, "ReadDir")).json() as { ReadDir: { path: string; file_type: string }[] };
    return answer.ReadDir.map((entry) => ({
      name: entry.path.slice(entry.path.lastIndexOf("/") + 1),
      isFolder: entry.file_type === "Directory",
    }));
  }

  /** Create a folder, and those that it is in; one that is there stays. */
  async makeFolder(path: string): Promise<void> {
    await this.#ask(path, "CreateDirAll");
  }

  /** Remove a folder. @throws NotEmpty it has entries, and not `withContent`. @throws NotFound there is none. */
  async deleteFolder(path: string, { withContent = false } = {}): Promise<void> {
    await this.#ask(path, withContent ? "RemoveDirAll" : "RemoveDir");
  }

  /** Move a file within the drive; a file that is there is replaced. @throws NotFound there is no such file. */
  async rename(path: string, newPath: string): Promise<void> {
    await this.#ask(path, { Rename: { new_path: this.#whole(newPath) } });
  }

  /** Copy a file within the drive; a file that is there is replaced. @throws NotFound there is no such file. */
  async copy(path: string, newPath: string): Promise<void> {
    await this.#ask(path, { CopyFile: { new_path: this.#whole(newPath) } });
  }

  #whole(path: string): string {
    if (path.split("/").includes("..")) throw new RangeError(`${JSON.stringify(path)} has ..: a path does not leave its drive`);
    const { packageName, publisherNode } = ourId();
    return `/${packageName}:${publisherNode}/${this.name}/${path}`;
  }

  async #ask(path: string, action: unknown, blob?: Uint8Array): Promise<IncomingResponse> {
    try {
      return await askModule("vfs", { path: this.#whole(path), action }, blob);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const [kind, reason] = ERRORS[error.kind] ?? [VfsError, `${error.kind}: ${error.message}`];
      throw new kind(`${this.name}/${path}`, reason);
    }
  }
}

function bytesOf(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? encodeUtf8(content) : content;
}
