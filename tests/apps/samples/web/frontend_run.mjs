/** Features of clips: int16 in a file, float32 out; see test_frontend.py. */
import fs from 'node:fs';
import {features} from '../../../../apps/samples/web/frontend.js';

const [input, output] = process.argv.slice(2);
const held = fs.readFileSync(input);
const sound = new Int16Array(
  held.buffer.slice(held.byteOffset, held.byteOffset + held.length));
const found = [];
for (let start = 0; start < sound.length; start += 16000) {
  found.push(features(sound.slice(start, start + 16000)));
}
fs.writeFileSync(output, Buffer.concat(found.map((f) => Buffer.from(f.buffer))));
