// What is installed, and installing more: nothing runs before its user has seen what it asks for.

import { button, bytes, clean, confirm, h, note, section, table } from "./dom.js";

const PART = 192 * 1024;

export function showPackages(app, main, signal) {
  const listed = h("div");
  main.append(h("div", { class: "title" }, h("h1", {}, "Packages")),
    app.may("admin") ? installer(app, main, signal, list) : null ?? "", h("div", { class: "card flush" }, listed));
  app.quietly(list());

  async function list() {
    const { packages } = await app.ask("listPackages");
    if (signal.aborted) return;
    const version = (value, hash) => (value === null ? "–" : h("span", {}, clean(value), hash ? h("code", { class: "rest" }, ` ${hash.slice(0, 12)}`) : null));
    const asks = ({ asks: all }) => (all === null ? "its manifest cannot be read" : !all.length ? "nothing special"
      : h("ul", { class: "plain" }, all.map((each) => h("li", {}, clean(each.text)))));
    listed.replaceChildren(table("Packages", [
      ["Package", (row) => h("b", {}, clean(row.package)), ""], ["Installed", (row) => version(row.version, row.hash), ""],
      ["Runs", (row) => version(row.running_version, row.running_hash), ""], ["Asks for", asks, ""],
      ["Processes", (row) => h("ul", { class: "plain" }, row.processes.map((each) => h("li", {}, h("a", { href: `#/process/${encodeURIComponent(each)}` }, clean(each.split(":")[0]))))), ""],
      ...(app.may("admin") ? [["", (row) => (row.previous_version === null ? "" : button(`Roll back to ${clean(row.previous_version)}`, () => rollBack(row), "small")), ""]] : []),
    ], packages, "No package is installed."));
  }

  async function rollBack(row) {
    if (!(await confirm(`Roll back ${row.package}?`, [h("p", {}, `It returns to ${clean(row.previous_version)}. Channels stay open.`)], "Roll back"))) return;
    await app.quietly(app.ask("rollback", { package: row.package }).then((now) => note(`${now.package} ${now.version} runs`)));
    app.quietly(list());
  }
}

function installer(app, main, signal, list) {
  const input = h("input", { type: "file", id: "file", class: "unseen", accept: ".zip,.wasm", onchange: () => begin(input.files[0]) });
  const bar = h("progress", { max: 1, hidden: true, "aria-label": "Progress of the installation" });
  const status = h("p", { role: "status", class: "status" });
  const zone = h("div", { class: "drop card" }, h("p", {}, h("label", { for: "file", class: "button main" }, "Choose a package"), input, h("span", {}, " or drop a .zip or .wasm here")), bar, status);
  let busy = false;
  const show = (text, part, kind = "") => { status.textContent = clean(text); status.className = `status ${kind}`; bar.hidden = part === null; if (part === undefined) bar.removeAttribute("value"); else if (part !== null) bar.value = part; };

  for (const name of ["dragover", "dragleave", "drop"]) {
    main.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", name === "dragover");
      if (name === "drop") begin(event.dataTransfer.files[0]);
    }, { signal });
  }
  app.node.on("progress", ({ step, number, count }) => show(step === "compiling" ? `Compiling ${number + 1} of ${count} …` : "Starting …", number / (count + 1)), signal);
  signal.addEventListener("abort", () => { if (app.node.hello && !busy) app.quietly(app.node.ask("dropUpload")); });
  return zone;

  async function begin(file) {
    if (!file || busy) return;
    busy = true;
    try { await install(file); } catch (problem) { show(problem.message, null, "problem"); } finally { busy = false; input.value = ""; }
  }

  async function install(file) {
    await app.node.ask("beginUpload", { name: file.name, bytes: file.size });
    for (let at = 0; at < file.size; at += PART) {
      show(`Sending ${file.name}, ${bytes(file.size)} …`, at / file.size);
      await app.node.ask("sendPart", { base64: await base64(file.slice(at, at + PART)) });
    }
    show("Checking …");
    const found = await app.node.ask("preview");
    show("", null);
    const marked = (all, mark) => all.map((each) => h("li", { class: mark === "+" ? "more" : "less" }, `${mark} `, clean(each)));
    const body = [h("p", {}, h("b", {}, clean(found.package)), ` ${clean(found.version)} `, h("code", { class: "rest" }, found.hash.slice(0, 12))),
      found.asks_more.length ? h("p", {}, "It asks for more than every process, or its version before, has:") : h("p", {}, "It asks for nothing beyond what every process, or its version before, has."),
      h("ul", { class: "plain asks" }, marked(found.asks_more, "+"), marked(found.asks_less, "−"))];
    if (!(await confirm("Install this package?", body, found.asks_more.length ? "Grant and install" : "Install"))) {
      await app.node.ask("dropUpload");
      show("Nothing was installed.", null);
      return;
    }
    show("Compiling …");
    const done = await app.node.ask("install", { hash: found.hash });
    show(`${done.package} ${done.version} runs.`, null, "good");
    await list();
  }
}

async function base64(blob) {
  const data = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(text);
}
