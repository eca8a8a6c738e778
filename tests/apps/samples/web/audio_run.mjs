/** Clips of WAV files: FOLDER COUNT; see test_frontend.py. */
import fs from 'node:fs';
import {oneClip, plainWav} from '../../../../apps/samples/web/audio.js';

const [folder, count] = process.argv.slice(2);
for (let number = 0; number < count; number++) {
  const held = fs.readFileSync(`${folder}/${number}.wav`);
  const sound = plainWav(
    held.buffer.slice(held.byteOffset, held.byteOffset + held.length));
  fs.writeFileSync(`${folder}/${number}.bin`, oneClip(sound));
}
