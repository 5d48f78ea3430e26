/**
 * Everything that a mission plugin of Sortie needs in JavaScript, and nothing that it may not have.
 *
 * A plugin is an object with a manifest and a function, and one line that makes it the component's face:
 *
 * ```js
 * import { artifacts, plugin, report } from "./vendor/sortie-plugin.js";
 *
 * export const { describe, profile, check, run } = plugin({
 *   manifest: { name: "greeter", version: "0.1.0", description: "Reads a name and greets it." },
 *   async run(brief, tools) {
 *     const { content } = await tools.require("Read").call({ path: "name.txt" });
 *     report.milestone("the name is known");
 *     artifacts.put("greeting.txt", "text/plain", `Hello, ${content}!\n`);
 *     return { summary: `greeted, as ${brief.vpId} asked` };
 *   },
 * });
 * ```
 *
 * What is asked for is a {@link Pending}: `await` it, alone or with others in `Promise.all`, `Promise.any` or `Promise.race`. All that
 * was started goes on meanwhile.
 *
 * `console.log` writes into the mission's log, `Date.now()` goes by the mission's recorded time, and `Math.random()` is the same in each
 * run. While a mission runs, `setTimeout` and `setInterval` are timers of it, as {@link time.after}: they fire while calls are awaited, and
 * can be raced against them. There are no files, no `fetch`, and no environment variables.
 *
 * The node may run a plugin again from its beginning at any time, and gives it the recorded answers: the same brief and the same answers
 * must lead to the same calls. A {@link CallError} is an answer, too. An error that nobody catches ends the mission as failed.
 *
 * @module
 */

import * as worldArtifacts from "sortie:mission/artifacts@0.2.0";
import * as worldHuman from "sortie:mission/human@0.2.0";
import * as worldLimits from "sortie:mission/limits@0.2.0";
import * as worldMissions from "sortie:mission/missions@0.2.0";
import * as worldModel from "sortie:mission/model@0.2.0";
import * as worldReport from "sortie:mission/report@0.2.0";
import * as worldTime from "sortie:mission/time@0.2.0";
import * as worldTools from "sortie:mission/tools@0.2.0";

/**
 * What the mission is: the parts of its envelope that a plugin works from.
 *
 * @typedef {object} Brief
 * @property {string} missionId Globally unique; empty in `check`, as are the next two.
 * @property {string} vpId The VP that the mission is done as.
 * @property {string} vpSessionId The session that it belongs to: missions of one session share a workspace.
 * @property {string} missionType `coding`, `research`, `automation` or `custom`.
 * @property {string} objective What is to be done, in words.
 * @property {any} inputs The plugin's own inputs; `{}` where the envelope has none. Whole numbers beyond 2^53 are in `inputsText` alone.
 * @property {string} inputsText The same, as JSON.
 * @property {string[]} successCriteria What must hold at the end; judge them with {@link report.judge}, by index.
 * @property {string[]} requiredOutputs Names or globs of artifacts that must exist at the end.
 */

/**
 * What a plugin says of itself.
 *
 * @typedef {object} Manifest
 * @property {string} name `a-z0-9-`, at most 64 characters.
 * @property {string} version SemVer.
 * @property {string} description A sentence or two.
 * @property {any} [inputsSchema] JSON Schema of the brief's inputs; the node holds missions against it before they are accepted.
 * @property {boolean} [needsModel] No mission of it can be done without a model.
 * @property {(string | string[])[]} [needsTools] None can be done without these tools; of a list in the list, without one of them.
 * @property {string[]} [usesTools] Tools that it makes use of where it is granted them, and can do without.
 * @property {number} [needsMemoryMib] Memory that a run may take: a node that gives its plugins less does not install it.
 * @property {number} [needsRunTimeMs] The run time without which none can be done, in milliseconds.
 * @property {object[]} [examples] Inputs that missions may have; they fit the schema.
 * @property {any} [outputsSchema] What missions leave: JSON Schema of an object that has each artifact as a property, by its name.
 */

/**
 * Something wrong with a brief: a JSON Pointer into the envelope (such as `/inputs/steps/2`), a stable code for programs, a sentence.
 *
 * @typedef {{ pointer: string, code: string, detail: string }} Mistake
 */

/**
 * The mission is done: one line for people, and the one thing that somebody should do next, if there is one.
 *
 * @typedef {{ summary: string, nextAction?: string }} Outcome
 */

/**
 * Makes a plugin the face of the component: `export const { describe, profile, check, run } = plugin({ … })`, once, in the module that is built.
 *
 * `check` finds what is wrong with a brief before its mission is accepted: tools, artifacts, reports, people and time are not there yet.
 *
 * @param {object} made
 * @param {Manifest} made.manifest Who the plugin is.
 * @param {(brief: Brief) => Mistake[]} [made.check] What is wrong with a brief.
 * @param {(brief: Brief, tools: Tools) => Outcome | Promise<Outcome>} made.run Does the mission with the tools that it was granted.
 */
export function plugin({ manifest, check = () => [], run }) {
  return {
    describe() {
      const { name, version, description, inputsSchema, needsModel = false, needsTools = [] } = manifest;
      const needs = needsModel ? [{ tag: "model" }] : [];
      for (const need of needsTools) {
        needs.push(Array.isArray(need) ? { tag: "one-of", val: need } : { tag: "tool", val: need });
      }
      const schema = inputsSchema === undefined ? undefined : JSON.stringify(inputsSchema);
      return { name, version, description, inputsSchema: schema, needs };
    },
    profile() {
      const { usesTools = [], needsMemoryMib, needsRunTimeMs, examples = [], outputsSchema } = manifest;
      const count = (number, unit) => (number === undefined ? undefined : BigInt(Math.round(number)) * unit);
      return {
        optionalTools: usesTools,
        memoryBytes: count(needsMemoryMib, 1n << 20n),
        runtimeMs: count(needsRunTimeMs, 1n),
        examples: examples.map((example) => JSON.stringify(example)),
        outputsSchema: outputsSchema === undefined ? undefined : JSON.stringify(outputsSchema),
      };
    },
    check(brief) {
      return check(briefOf(brief));
    },
    async run(brief, tools) {
      isRunning = true;
      try {
        const { summary, nextAction } = await run(briefOf(brief), new Tools(tools));
        return { summary, nextAction };
      } catch (error) {
        if (error instanceof Failure) {
          throw { summary: error.message, tool: error.tool, nextAction: error.nextAction };
        }
        if (error instanceof CallError) {
          const summary = error.tool === undefined ? error.message : `${error.tool}: ${error.message}`;
          throw { summary, tool: error.tool, nextAction: undefined };
        }
        const places = placesOf(error);
        report.error([error instanceof Error ? error : `it threw ${text(error)}`, ...places].join("\n    at "));
        const summary = [`the plugin failed: ${error}`, ...places.slice(0, 1)].join(", at ");
        throw { summary, tool: undefined, nextAction: `See what it logged: sortie journal ${brief.missionId} --log` };
      } finally {
        isRunning = false;
        // What lost a race is not waited for.
        awaited.length = 0;
      }
    },
  };
}

/**
 * Where an error comes from, innermost first: `titleOf (plugin.js:42)`. `build.mjs` makes one module of all files and says which line of it was
 * which; frames of the engine, which name folders of whoever built it, and of this library are left out.
 *
 * @returns {string[]}
 */
function placesOf(error) {
  const { files = [], lines = [] } = globalThis.sortieSources ?? {};
  const places = [];
  for (const frame of String(error?.stack ?? "").split("\n")) {
    const [, name, line] = /^(.*)@(?:.*\/)?plugin\.js:(\d+):\d+$/.exec(frame.trim()) ?? [];
    if (line === undefined) continue;
    const [file, own] = lines[line - 1] || [];
    const place = file === undefined ? `line ${line} of the bundle of plugin.js` : `${files[file]}:${own}`;
    if (!/(^|\/)sortie-plugin\.js:/.test(place)) places.push(name === "" ? place : `${name} (${place})`);
  }
  return places;
}

/** @returns {Brief} */
function briefOf(brief) {
  return { ...brief, inputs: JSON.parse(brief.inputs), inputsText: brief.inputs };
}

/** The mission could not be done: throw it, anywhere in `run`. */
export class Failure extends Error {
  name = "Failure";

  /**
   * @param {string} summary One line for people.
   * @param {{ tool?: string, nextAction?: string }} [more] The tool whose call is to blame, and the one thing that somebody should do next.
   */
  constructor(summary, { tool, nextAction } = {}) {
    super(summary);
    this.tool = tool;
    this.nextAction = nextAction;
  }
}

/** Why a call has no result. A refusal is a value: handle it, or let it fail the mission. */
export class CallError extends Error {
  name = "CallError";

  /**
   * @param {"denied" | "budget-exhausted" | "cancelled" | "invalid-arguments" | "failed" | "timed-out" | "uncertain"} code Which case it is.
   * @param {string} message What the node says.
   * @param {string} [tool] The tool whose call it was, if it was one's.
   */
  constructor(code, message, tool) {
    super(message);
    this.code = code;
    this.tool = tool;
  }
}

/** What the world threw, as an error of this library. */
function errorOf(thrown, tool) {
  const { tag, val } = thrown?.payload ?? thrown ?? {};
  if (typeof tag !== "string") return thrown;
  return new CallError(tag, val ?? "the call was cancelled", tool);
}

function text(value, tool) {
  let json;
  try {
    json = JSON.stringify(value);
  } catch (why) {
    throw new CallError("invalid-arguments", `this cannot be written as JSON: ${why.message}`, tool);
  }
  if (json === undefined) throw new CallError("invalid-arguments", `this cannot be written as JSON: ${typeof value}`, tool);
  return json;
}

/** The tools that the mission was granted. */
export class Tools {
  #tools;

  constructor(handles) {
    this.#tools = handles.map((handle) => new Tool(handle));
  }

  /**
   * The tool of that name, without regard to case; `undefined` where the mission was not granted it.
   *
   * @param {string} name
   * @returns {Tool | undefined}
   */
  get(name) {
    return this.#tools.find((tool) => tool.name.toLowerCase() === name.toLowerCase());
  }

  /**
   * The tool of that name, which the plugin cannot do without: a {@link Failure} says so where the mission was not granted it.
   *
   * @param {string} name
   * @returns {Tool}
   */
  require(name) {
    const tool = this.get(name);
    if (tool === undefined) {
      const nextAction = `add ${name} to constraints.allowed_tools`;
      throw new Failure(`the mission was not granted the tool ${name}`, { nextAction });
    }
    return tool;
  }

  /** How many there are. */
  get length() {
    return this.#tools.length;
  }

  [Symbol.iterator]() {
    return this.#tools[Symbol.iterator]();
  }
}

/** The permission to call one tool. */
export class Tool {
  /** @internal */
  handle;

  constructor(handle) {
    this.handle = handle;
    /** Its name, as the node writes it. @type {string} */
    this.name = handle.name();
  }

  /** What it is for and what it takes. */
  describe() {
    const info = this.handle.describe();
    return { ...info, inputSchema: JSON.parse(info.inputSchema) };
  }

  /**
   * Calls it. The call is under way at once: `await` it, or start others first.
   *
   * At most 64 calls of a mission are in flight; one more fails.
   *
   * @param {object} [args]
   * @returns {Pending}
   */
  call(args = {}) {
    return new Pending(this.handle.start(text(args, this.name)), this.name);
  }
}

/** Those whose result somebody awaits. */
const awaited = [];
/** Those whose result nobody has taken: a handle that is let go of cancels its call, and a garbage collector must not do that. */
const inFlight = new Set();

/**
 * A call on its way, a timer, or a question. It can be awaited, and goes on until its result is taken or it is cancelled.
 *
 * @implements {PromiseLike<any>}
 */
export class Pending {
  /** @internal */
  handle;
  /** @internal It is no result of anything, but tells of something. */
  isSignal;
  #tool;
  #result;
  #error;
  #info = {};

  constructor(handle, tool, isSignal = false) {
    this.handle = handle;
    this.isSignal = isSignal;
    this.#tool = tool;
    inFlight.add(this);
  }

  /**
   * Waits for the result: a promise of it, as of any other. While several are awaited, whichever is ready first goes on first; which that
   * was is recorded. What was started and is awaited by nobody goes on all the same.
   */
  then(resolve, reject) {
    return new Promise((taken, failed) => {
      awaited.push({ pending: this, taken, failed });
      if (awaited.length === 1) settleOne();
    }).then(resolve, reject);
  }

  /** As of a promise. */
  catch(reject) {
    return this.then(undefined, reject);
  }

  /** As of a promise. */
  finally(settled) {
    return this.then().finally(settled);
  }

  /** Waits for the result, and says what became of the call beside it: `amended`, where whoever approved it changed the arguments. */
  async info() {
    await this.then(undefined, () => undefined);
    return this.#info;
  }

  /** Cancels it, unless its result was taken. */
  cancel() {
    if (this.handle === undefined) return;
    this.#error = new CallError("cancelled", "the call was cancelled", this.#tool);
    this.#release();
  }

  /** Waits for the result, here and now: nothing else of the plugin goes on. Every further time the result is the same. */
  get() {
    if (this.handle !== undefined) {
      try {
        this.#result = JSON.parse(this.handle.get());
      } catch (thrown) {
        this.#error = errorOf(thrown, this.#tool);
      }
      const { amended } = this.handle.info();
      if (amended !== undefined) this.#info = { amended: JSON.parse(amended) };
      this.#release();
    }
    if (this.#error !== undefined) throw this.#error;
    return this.#result;
  }

  #release() {
    const handle = this.handle;
    this.handle = undefined;
    inFlight.delete(this);
    handle[Symbol.dispose]();
  }
}

/**
 * Settles the promise of whichever is ready first, once nothing else of the plugin can go on: so that all that it starts is under way
 * before anybody waits.
 */
async function settleOne() {
  while (awaited.length > 0) {
    await everythingElse();
    if (awaited.length === 0) return;
    // Of a result and a signal that are both there, the result goes first.
    awaited.sort((one, other) => one.pending.isSignal - other.pending.isSignal);
    const index = waitAny(awaited.map(({ pending }) => pending));
    const [{ pending, taken, failed }] = awaited.splice(index, 1);
    try {
      taken(pending.get());
    } catch (error) {
      failed(error);
    }
    // Whoever awaits from here on begins another loop.
    if (awaited.length === 0) return;
  }
}

/** Turns that are left to promises that are settled: each link of a chain takes up to three. */
const TURNS = 100;

async function everythingElse() {
  for (let turn = 0; turn < TURNS; turn += 1) await undefined;
}

/**
 * Waits, here and now, until at least one of these is ready and says which: an index into the list. The choice is recorded.
 *
 * @param {Pending[]} pending
 * @returns {number}
 */
export function waitAny(pending) {
  if (pending.length === 0) throw new RangeError("waitAny needs something to wait for");
  const taken = pending.findIndex(({ handle }) => handle === undefined);
  if (taken >= 0) return taken;
  return pending.length === 1 ? 0 : worldTools.waitAny(pending.map(({ handle }) => handle));
}

/** Whether a mission runs: there are timers of it only then. */
let isRunning = false;

const ofEngine = { setTimeout: globalThis.setTimeout, setInterval: globalThis.setInterval, clearTimeout: globalThis.clearTimeout };
/** Timers that have not fired, by what `setTimeout` answered. */
const timers = new Map();
let lastTimer = 0;

/** The engine looks at its own timers when the whole plugin waits for nothing else; these are awaited beside the calls. */
function timer(name, again) {
  return (call, ms = 0, ...given) => {
    if (!isRunning) return ofEngine[name](call, ms, ...given);
    lastTimer += 1;
    const id = lastTimer;
    const begin = () => {
      const pending = time.after(Math.min(Number(ms) || 0, TIMER_MS_MAX));
      timers.set(id, pending);
      const fires = () => {
        timers.delete(id);
        if (again) begin();
        call(...given);
      };
      pending.then(fires, (error) => {
        timers.delete(id);
        if (error.code !== "cancelled") throw error;
      });
    };
    begin();
    return id;
  };
}

/** As everywhere: what is longer cannot be said. */
const TIMER_MS_MAX = 2 ** 31 - 1;

globalThis.setTimeout = timer("setTimeout", false);
globalThis.setInterval = timer("setInterval", true);
globalThis.clearTimeout = (id) => {
  const pending = timers.get(id);
  timers.delete(id);
  return pending === undefined ? ofEngine.clearTimeout(id) : pending.cancel();
};
globalThis.clearInterval = globalThis.clearTimeout;

/** What people see of a mission while it runs. */
export const report = {
  /** A step worth a person's attention: becomes a progress event where the mission's cadence reports milestones. @param {string} text */
  milestone: (text) => worldReport.milestone(text),
  /** A line for the mission's log: details. @param {string} text */
  debug: (text) => worldReport.log("debug", text),
  /** A line for the mission's log. `console.log` writes such lines, too. @param {string} text */
  info: (text) => worldReport.log("info", text),
  /** A line for the mission's log: something is odd. @param {string} text */
  warn: (text) => worldReport.log("warn", text),
  /** A line for the mission's log: something went wrong. @param {string} text */
  error: (text) => worldReport.log("error", text),
  /**
   * Judges a success criterion, by its index in the brief. The last judgement counts; an unmet one fails the mission.
   *
   * @param {number} criterion
   * @param {"met" | "unmet" | "not-judged"} verdict
   * @param {string} evidence
   */
  judge: (criterion, verdict, evidence) => worldReport.judge(criterion, verdict, evidence),
};

/** What the world threw as a text, as a failure. */
function failing(call) {
  try {
    return call();
  } catch (thrown) {
    const said = thrown?.payload ?? thrown;
    throw typeof said === "string" ? new Failure(said) : thrown;
  }
}

/** What a mission leaves behind. What is wrong with a name, a type or a size is a {@link Failure}. */
export const artifacts = {
  /**
   * Stores a text, or bytes, under a name: a relative path of plain segments. The same name again replaces it.
   *
   * @param {string} name
   * @param {string} mediaType
   * @param {string | Uint8Array} content
   * @returns {{ name: string, bytes: bigint, sha256: string }}
   */
  put(name, mediaType, content) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    return failing(() => worldArtifacts.put(name, mediaType, bytes));
  },
  /** Stores a file of the workspace. @param {string} name @param {string} mediaType @param {string} path */
  putFile: (name, mediaType, path) => failing(() => worldArtifacts.putFile(name, mediaType, path)),
  /** Reads back an artifact of this mission. @param {string} name @returns {Uint8Array} */
  get: (name) => failing(() => worldArtifacts.get(name)),
};

/** People: questions that the mission waits for, for hours if need be. */
export const human = {
  /**
   * Asks somebody, in at most 4,096 bytes: a promise of the answer, a text. Meanwhile the mission is `blocked`; its other calls go on. A
   * question that is turned down is a {@link CallError} with the code `denied`.
   *
   * @param {string} question
   */
  ask: (question) => new Pending(worldHuman.ask(question)),
};

/** Time, as the journal knows it. */
export const time = {
  /** Milliseconds since 1970. A replay gets the recorded answer. */
  nowMs: () => Number(worldTime.now()),
  /** A timer that is ready after so many milliseconds, for days if need be. @param {number} ms */
  after: (ms) => new Pending(worldTime.after(BigInt(Math.max(0, Math.round(ms))))),
};

/** What the mission has left, and how it lands: a mission that is cut at its limit strands its work. */
export const limits = {
  /**
   * Asks for the signal that landing should begin: at 95 % of the window, the run time, the model calls or the money, unless the node is
   * configured otherwise. From the first time that this is asked for, what is behind that mark is kept, until {@link limits.land}.
   *
   * `pending` can be awaited, `isGiven()` looks. What may outlast a limit is raced against it: `Promise.race([call, closing.pending])`; of a
   * call and the signal that are both there, the call is told first.
   */
  closing() {
    const pending = new Pending(worldLimits.closing(), undefined, true);
    return {
      pending,
      isGiven() {
        // The first of several that are ready is told: a timer that is over says that the signal is not.
        const now = time.after(0);
        const given = waitAny([pending, now]) === 0;
        now.cancel();
        return given;
      },
    };
  },
  /** The mission lands: from here on it may use what was kept for that. */
  land: () => worldLimits.land(),
  /** Until when there is time, in milliseconds since 1970; `undefined` where there is no end. */
  deadlineMs() {
    const deadline = worldLimits.deadline();
    return deadline === undefined ? undefined : Number(deadline);
  },
  /** What is left at this moment; what has no limit is `undefined`. */
  left() {
    const { runtimeMs, llmCalls, microUsd, landingLlmCalls, landingMicroUsd } = worldLimits.left();
    const number = (value) => (value === undefined ? undefined : Number(value));
    return {
      runtimeMs: Number(runtimeMs),
      llmCalls: number(llmCalls),
      microUsd: number(microUsd),
      landingLlmCalls: Number(landingLlmCalls),
      landingMicroUsd: Number(landingMicroUsd),
    };
  },
};

/**
 * Missions that this one dispatches: children, each by itself, with no more than this mission has. An order is an object in the words of an
 * envelope (`/schemas/mission-order.json`), a result says how the child ended (`/schemas/mission-result.json`).
 */
export const missions = {
  /**
   * Dispatches a child: a promise of its end, however it ended. To cancel the pending is to cancel the child.
   *
   * An error says that nothing was dispatched, a {@link CallError} with the code `denied`, where it goes beyond what this mission may,
   * `budget-exhausted`, where its share is not left, or `invalid-arguments`, where the node would not take such a mission.
   *
   * @param {object} order
   * @returns {Pending}
   */
  dispatch(order) {
    const json = text(order);
    try {
      return new Pending(worldMissions.dispatch(json));
    } catch (thrown) {
      throw errorOf(thrown);
    }
  },
  /**
   * Reads an artifact that a child left which has ended, by the `mission_id` of its result.
   *
   * @param {string} missionId
   * @param {string} name
   * @returns {Uint8Array}
   */
  artifact: (missionId, name) => failing(() => worldMissions.artifact(missionId, name)),
};

/** Models: questions that the mission pays for. A request and its answer are objects of `/schemas/model-request.json` and `-answer`. */
export const model = {
  /** The node's models; none, where it has none. */
  describe() {
    return worldModel.describe().map((info) => ({
      ...info,
      contextTokens: info.contextTokens === undefined ? undefined : Number(info.contextTokens),
    }));
  },
  /**
   * Asks a model. It may ask for these tools, and is told of no others; a `tool_use` of its answer is a wish, and whether it is granted is
   * the plugin's to say, by a call of the tool.
   *
   * @param {object} request
   * @param {Iterable<Tool>} [tools]
   * @returns {Pending}
   */
  complete(request, tools = []) {
    const handles = Array.from(tools, ({ handle }) => handle);
    return new Pending(worldModel.complete(text(request), handles));
  },
  /**
   * Asks a model one thing: the text of its answer. `more` is what else a request has, such as `max_tokens`.
   *
   * @param {string} prompt
   * @param {object} [more]
   * @returns {Promise<string>}
   */
  async ask(prompt, more = {}) {
    return model.text(await model.complete({ messages: [{ role: "user", content: prompt }], ...more }));
  },
  /** The text of an answer. @returns {string} */
  text: (answer) => answer.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join(""),
};
