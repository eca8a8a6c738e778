/**
 * The same model in Node, without a page:
 *
 *   node node_run.mjs train MODEL DATA WEIGHTS     remember, train, save
 *   node node_run.mjs restore MODEL DATA WEIGHTS   a new process: load
 *
 * MODEL is what tflm-fg-export --target=signatures --io=float32 wrote, DATA and
 * WEIGHTS are as in the other samples (../README.md), and so is the last line.
 * Needs `npm install` in this folder, and Node 20 or later.
 */
import fs from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import vm from 'node:vm';

const STEPS = 100, RATE = 1.0;
const EPOCHS = 8; // of adapt_input, in files that have it

/**
 * Gives LiteRT.js what it expects of a browser: a loader of scripts.
 *
 * @return {string} the folder of its WebAssembly, for `loadLiteRt`.
 */
export function likeABrowser() {
  const require = createRequire(import.meta.url);
  const main = fs.realpathSync(
    fileURLToPath(import.meta.resolve('@litertjs/core')));
  const folder = path.join(path.dirname(main), '..', 'wasm') + path.sep;
  Object.assign(globalThis, {
    self: globalThis,
    location: {href: `file://${folder}`},
    require,
    __dirname: folder,
    __filename: path.join(folder, 'engine.js'),
    importScripts: (file) => vm.runInThisContext(
      fs.readFileSync(file, 'utf8'), {filename: file}),
  });
  return folder;
}

/** Opens a model; what the engine says of itself goes nowhere. */
export async function opened(file) {
  const folder = likeABrowser();
  console.error = console.warn = console.info = () => {};
  const {Teachable, loadEngine} = await import('./teachable.js');
  await loadEngine(folder);
  return Teachable.open(new Uint8Array(fs.readFileSync(file)));
}

function numbers(Kind, file) {
  const data = fs.readFileSync(file);
  return new Kind(
    data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
}

function samplesOf(data, what, size) {
  const x = numbers(Float32Array, path.join(data, `${what}_x.bin`));
  const y = numbers(Int32Array, path.join(data, `${what}_y.bin`));
  if (x.length !== y.length * size) {
    throw new Error(`${data}: ${what}_x.bin holds no ${y.length} samples of ` +
      `${size} float32; make it from a model with --io=float32`);
  }
  return [...y].map((label, i) =>
    ({label, features: x.subarray(i * size, (i + 1) * size)}));
}

/** The weights one behind the other, in the order of their names. */
function written(weights) {
  return Buffer.concat(Object.keys(weights).sort().map((name) => {
    const {buffer, byteOffset, byteLength} = weights[name];
    return Buffer.from(buffer, byteOffset, byteLength);
  }));
}

/** What `written` gave, read from a file, as numbers by name. */
function readBack(like, kept) {
  const data = fs.readFileSync(kept);
  let at = 0;
  const weights = {};
  for (const name of Object.keys(like).sort()) {
    const {constructor: Kind, byteLength} = like[name];
    weights[name] = new Kind(data.buffer.slice(
      data.byteOffset + at, data.byteOffset + at + byteLength));
    at += byteLength;
  }
  if (at !== data.length) {
    throw new Error(`${path.basename(kept)} holds no weights of this model`);
  }
  return weights;
}

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

async function main(what, file, data, kept) {
  const model = await opened(file);
  const size = model.shape.reduce((product, n) => product * n, 1);
  const train = samplesOf(data, 'train', size);
  const test = samplesOf(data, 'test', size);
  const told = {
    count: 0, loss: 0, adapt_input_ms: 0, remember_ms: 0, train_ms: 0,
  };
  const [before, infers] = await timed(() => model.accuracy(test));
  Object.assign(told, {before, infer_ms: infers / test.length});
  if (what === 'train') {
    [told.changed, told.adapt_input_ms] = await timed(() =>
      model.adaptsInput && model.adaptInput(train, EPOCHS));
    const [, remembers] = await timed(async () => {
      for (const {features, label} of train) {
        told.count = await model.remember(features, label);
      }
    });
    told.remember_ms = remembers / train.length;
    [told.loss, told.train_ms] = await timed(() => model.train(STEPS, RATE));
  } else {
    await model.restore(readBack(await model.weights(), kept));
  }
  fs.writeFileSync(`${kept}.new`, written(await model.weights()));
  fs.renameSync(`${kept}.new`, kept);
  told.after = await model.accuracy(test);
  console.log(JSON.stringify(told));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [what, ...rest] = process.argv.slice(2);
  if (!['train', 'restore'].includes(what) || rest.length !== 3) {
    console.log('node node_run.mjs train|restore MODEL DATA WEIGHTS');
    process.exit(2);
  }
  try {
    await main(what, ...rest);
    process.exit(0); // LiteRT.js keeps a timer
  } catch (fault) {
    console.log(`node_run: ${fault.message}`);
    process.exit(1);
  }
}
