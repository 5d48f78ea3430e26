// Makes a component of plugin.js and of all that it imports: `node build.mjs FILE.wasm`.

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { componentize } from "@bytecodealliance/componentize-js";
import { rolldown } from "rolldown";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

// One module of all: only what is the world's is imported from outside.
const bundle = await rolldown({ input: here("plugin.js"), external: /^sortie:mission\// });
const { output } = await bundle.generate({ format: "esm" });
const { component } = await componentize(output[0].code, {
  sourceName: "plugin.js",
  witPath: here("wit"),
  worldName: "plugin",
  // The node plays a clock, randomness and standard output, and has no HTTP but by its tools.
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(process.argv[2] ?? "plugin.wasm", component);
