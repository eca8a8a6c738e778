/** Runs models on samples, or says why not; see test_export_web.py. */
import fs from 'node:fs';
import {likeABrowser} from './node_run.mjs';

const [input, ...files] = process.argv.slice(2);
const data = fs.readFileSync(input);
const x = new Float32Array(
  data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
const folder = likeABrowser();
const {Tensor, loadAndCompile, loadLiteRt} = await import('@litertjs/core');
await loadLiteRt(folder);

async function outputs(file) {
  const model = await loadAndCompile(
    new Uint8Array(fs.readFileSync(file)), {accelerator: 'wasm'});
  const {shape} = model.getInputDetails()[0];
  const size = shape.reduce((product, n) => product * n, 1);
  const found = [];
  for (let start = 0; start < x.length; start += size) {
    const sample = new Tensor(x.slice(start, start + size), [...shape]);
    const [output] = await model.run([sample]);
    found.push([...output.toTypedArray()]);
  }
  return found;
}

const said = [];
for (const file of files) {
  said.push(await outputs(file).catch((fault) => String(fault)));
}
console.log(JSON.stringify(said));
process.exit(0);
