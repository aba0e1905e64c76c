/** Keeps a value for a minute, and a file. */

import { bindHttpPath, Drive, GuestError, type HttpRequest, HttpResponse, Kv, KvError, Process } from "@guesthouse/sdk";

const values = new Kv("values");

export default class Counting extends Process {
  override onStart(): void {
    bindHttpPath("/count", { authenticated: false });
    bindHttpPath("/file", { authenticated: false });
  }

  override async onHttp(request: HttpRequest): Promise<HttpResponse | string> {
    try {
      if (request.boundPath === "/file") return await this.#file(request);
      if (request.method === "GET") return String((await values.getJson("count")) ?? "none");
      await values.set("count", request.body, 60);
      return "stored";
    } catch (error) {
      if (error instanceof KvError) return error.kind;
      if (error instanceof GuestError) return error.name;
      throw error;
    }
  }

  async #file(request: HttpRequest): Promise<string> {
    if (request.method === "PUT") {
      await new Drive("notes").write("a/b.txt", request.body);
      return "stored";
    }
    const shipped = new Drive("pkg");
    const names = (await shipped.list()).map((entry) => entry.name).join(" ");
    return `${await shipped.readText("texts/hello.txt")} [${names}]`;
  }
}
