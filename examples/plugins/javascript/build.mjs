// Makes a component of plugin.js and of all that it imports: `node build.mjs FILE.wasm`. In a second file, where one is named, it lists the
// modules that are in it: `sortie` need not build it again until one of them changes.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";
import { rolldown } from "rolldown";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

// One module of all: only what is the world's is imported from outside.
const bundle = await rolldown({ input: here("plugin.js"), external: /^sortie:mission\// });
const { output } = await bundle.generate({ format: "esm", sourcemap: "hidden" });
const [{ code, map, moduleIds }] = output;
const { component } = await componentize(`${code}\nglobalThis.sortieSources = ${JSON.stringify(sourcesOf(map))};\n`, {
  sourceName: "plugin.js",
  witPath: here("wit"),
  worldName: "plugin",
  // The node plays a clock, randomness and standard output, and has no HTTP but by its tools.
  disableFeatures: ["http", "fetch-event"],
});
const [file = "plugin.wasm", list] = process.argv.slice(2);
await writeFile(file, component);
if (list !== undefined) await writeFile(list, JSON.stringify(moduleIds));

// Where each line of the one module comes from, for the library: it says where an error was in the files that people wrote.
function sourcesOf({ sources, mappings }) {
  let [file, line] = [0, 0];
  const lines = mappings.split(";").map((segments) => {
    let first = 0;
    for (const segment of segments.split(",")) {
      const [, files, lines] = numbersOf(segment);
      if (files === undefined) continue;
      [file, line] = [file + files, line + lines];
      first ||= [file, line + 1];
    }
    return first;
  });
  return { files: sources.map((source) => source.replace(/^(\.\.\/)+/, "")), lines };
}

// The numbers of a segment of a source map: base 64, five bits a digit, the sign in the lowest bit.
function numbersOf(segment) {
  const [numbers, digits] = [[], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"];
  let [value, shift] = [0, 0];
  for (const letter of segment) {
    const digit = digits.indexOf(letter);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}
