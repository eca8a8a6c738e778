/** Sound files and recordings to clips of one second, 16-bit, 16 kHz. */
import {CLIP_SAMPLES, SAMPLE_RATE} from './frontend.js';

/** Sound of full scale 1 to 16-bit numbers. */
export function toInt16(sound) {
  return Int16Array.from(sound, (value) =>
    Math.max(-32768, Math.min(32767, Math.round(value * 32768))));
}

/**
 * Reads a WAV file that is 16-bit, one channel and 16 kHz as it stands.
 *
 * @param {ArrayBuffer} data the file.
 * @return {?Int16Array} its samples; null if it is another kind of file.
 */
export function plainWav(data) {
  const view = new DataView(data);
  const text = (at) => at + 4 <= data.byteLength ?
    String.fromCharCode(...new Uint8Array(data, at, 4)) : '';
  if (text(0) !== 'RIFF' || text(8) !== 'WAVE') return null;
  let known = false;
  for (let at = 12; at + 8 <= data.byteLength;) {
    const size = view.getUint32(at + 4, true), start = at + 8;
    if (text(at) === 'fmt ' && start + 16 <= data.byteLength) {
      known = view.getUint16(start, true) === 1 &&
        view.getUint16(start + 2, true) === 1 &&
        view.getUint32(start + 4, true) === SAMPLE_RATE &&
        view.getUint16(start + 14, true) === 16;
    }
    if (text(at) === 'data') {
      const bytes = Math.min(size, data.byteLength - start);
      return known ? Int16Array.from({length: bytes >> 1}, (_, i) =>
        view.getInt16(start + 2 * i, true)) : null;
    }
    at = start + size + (size & 1);
  }
  return null;
}

/**
 * Reads any sound file that the browser knows, as one channel at 16 kHz.
 *
 * @param {ArrayBuffer} data the file.
 * @return {Promise<Int16Array>} its samples.
 */
export async function read(data) {
  const plain = plainWav(data);
  if (plain) return plain;
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
  const buffer = await context.decodeAudioData(data.slice(0));
  return toInt16(await oneChannel(buffer));
}

/** Mixes a buffer's channels and brings it to 16 kHz. */
async function oneChannel(buffer) {
  const length = Math.max(1, Math.ceil(buffer.duration * SAMPLE_RATE));
  const context = new OfflineAudioContext(1, length, SAMPLE_RATE);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** Brings sound of one channel and any rate to 16 kHz. */
export async function resampled(sound, rate) {
  if (rate === SAMPLE_RATE) return toInt16(sound);
  const buffer = new AudioBuffer(
    {length: sound.length, numberOfChannels: 1, sampleRate: rate});
  buffer.copyToChannel(sound, 0);
  return toInt16(await oneChannel(buffer));
}

/** Where half of the energy lies before. */
function middleOf(samples) {
  let total = 0, before = 0;
  for (const value of samples) total += value * value;
  for (let i = 0; i < samples.length; i++) {
    if (before >= total / 2) return i;
    before += samples[i] * samples[i];
  }
  return samples.length;
}

/** Where the second with the most energy begins. */
function loudestSecond(samples) {
  let inside = 0, best = 0, at = 0;
  for (let i = 0; i < samples.length; i++) {
    inside += samples[i] ** 2;
    if (i >= CLIP_SAMPLES) inside -= samples[i - CLIP_SAMPLES] ** 2;
    if (i >= CLIP_SAMPLES - 1 && inside > best) {
      best = inside;
      at = i - CLIP_SAMPLES + 1;
    }
  }
  return at;
}

/**
 * Pads or cuts to one second, with the loudest part in the middle; the same
 * as `tflm-fg-kws` does with a short file.
 *
 * @param {Int16Array} samples at 16 kHz, as many as there are.
 * @return {Int16Array} 16000 samples.
 */
export function oneClip(samples) {
  if (samples.length === CLIP_SAMPLES) return samples;
  const half = CLIP_SAMPLES / 2;
  if (samples.length > CLIP_SAMPLES) {
    const first = loudestSecond(samples);
    const loud = samples.subarray(first, first + CLIP_SAMPLES);
    const wanted = Math.max(0, first + middleOf(loud) - half);
    const start = Math.min(wanted, samples.length - CLIP_SAMPLES);
    return samples.slice(start, start + CLIP_SAMPLES);
  }
  const clip = new Int16Array(CLIP_SAMPLES);
  const wanted = Math.max(0, half - middleOf(samples));
  clip.set(samples, Math.min(wanted, CLIP_SAMPLES - samples.length));
  return clip;
}

/** Whether a clip holds nothing but silence. */
export function isSilent(clip) {
  return clip.every((value) => Math.abs(value) < 33); // below -60 dB
}

/**
 * Records from the microphone, and lets go of it at the end.
 *
 * @param {number} seconds how long.
 * @return {Promise<Int16Array>} the sound at 16 kHz.
 */
export async function record(seconds) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: {
      channelCount: 1,
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
    },
  });
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(
      new URL('./recorder_worklet.js', import.meta.url));
    await context.resume();
    const sound = await collected(context, stream, seconds);
    return await resampled(sound, context.sampleRate);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  }
}

/** Joins what the worklet hears until there is enough of it. */
function collected(context, stream, seconds) {
  const wanted = Math.round(seconds * context.sampleRate);
  const sound = new Float32Array(wanted);
  const recorder = new AudioWorkletNode(context, 'recorder');
  const source = context.createMediaStreamSource(stream);
  return new Promise((resolve, reject) => {
    let held = 0;
    stream.getTracks().forEach((track) => {
      track.onended = () => reject(new Error('the microphone was taken away'));
    });
    recorder.port.onmessage = ({data}) => {
      sound.set(data.subarray(0, wanted - held), held);
      held = Math.min(wanted, held + data.length);
      if (held < wanted) return;
      recorder.port.onmessage = null;
      source.disconnect();
      resolve(sound);
    };
    source.connect(recorder);
  });
}
