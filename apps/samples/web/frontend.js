/**
 * One second of sound to the [49, 40] features that the keyword spotter takes.
 *
 * This is the arithmetic of TensorFlow Lite Micro's audio front end, in whole
 * numbers: window, FFT, mel filterbank, noise reduction, gain control (PCAN)
 * and logarithm, with the parameters of the package pymicro-features. Numbers
 * of up to 64 bits in C stay below 2^53 here, so that they are exact.
 */
import {realFft} from './fft.js';
import {log1p} from './log1p.js';

export const SAMPLE_RATE = 16000; // Hz
export const CLIP_SAMPLES = 16000;
export const FRAMES = 49;
export const CHANNELS = 40;

const WINDOW = 480; // samples: 30 ms
const STEP = 160; // samples: 10 ms
const FFT_SIZE = 512;
const STRIDE = 2; // every second frame is kept
const UNIT = 0.0390625; // what one step of the output is worth

const WEIGHT_BITS = 12;
const LOW_HZ = 125, HIGH_HZ = 7500;
const SMOOTHING_BITS = 10;
const NOISE_ONE = 1 << 14;
const SMOOTHING = [0.025, 0.06].map((part) => Math.trunc(part * NOISE_ONE));
const LEAST_LEFT = Math.trunc(0.05 * NOISE_ONE);
const CORRECTION_BITS = 3; // log2 of the FFT's size, less half WEIGHT_BITS
const GAIN_BITS = 21;
const SNR_BITS = 12;
const SNR_SHIFT = GAIN_BITS - CORRECTION_BITS - SNR_BITS;
const NOISE_UNIT = 2 ** (SMOOTHING_BITS - CORRECTION_BITS);

const float = Math.fround;
const bits = (value) => 32 - Math.clz32(value); // of an unsigned number

const COEFFICIENTS = Int16Array.from({length: WINDOW}, (_, i) => {
  const phase = float(float(2 * Math.PI / WINDOW) * (i + 0.5));
  const share = float(0.5 - float(0.5 * float(Math.cos(phase))));
  return Math.floor(float(share * 4096 + 0.5));
});

/** The filterbank: for each bin of the spectrum a channel and two weights. */
const BANK = (() => {
  const mel = (hz) => float(1127 * log1p(float(hz / 700)));
  const whole = (share) => Math.floor(float(share * 2 ** WEIGHT_BITS + 0.5));
  const hzPerBin = SAMPLE_RATE / FFT_SIZE;
  const low = mel(LOW_HZ);
  const spacing = float(float(mel(HIGH_HZ) - low) / (CHANNELS + 1));
  const centres = Array.from({length: CHANNELS + 1}, (_, i) =>
    float(low + float(spacing * (i + 1))));
  const bins = [];
  let bin = Math.trunc(1.5 + LOW_HZ / hzPerBin);
  centres.forEach((centre, channel) => {
    const width = float(centre - (channel ? centres[channel - 1] : low));
    for (; mel(bin * hzPerBin) <= centre; bin++) {
      const share = float(float(centre - mel(bin * hzPerBin)) / width);
      bins.push({
        bin,
        channel,
        weight: whole(share),
        rest: whole(float(1 - share)),
      });
    }
  });
  return bins;
})();

/** The gain that a level of noise gets, before it is put into a table. */
function gainOf(noise) {
  const level = float(float(noise / NOISE_UNIT) + 80);
  const gain = float(2 ** GAIN_BITS * float(level ** float(-0.95)));
  return gain > 32767 ? 32767 : Math.trunc(float(gain + 0.5));
}

/** Parabolas for the gain, one for each power of two of the noise. */
const GAINS = Array.from({length: 33}, (_, power) => {
  if (power < 2) return [gainOf(power), 0, 0];
  const start = 2 ** (power - 1);
  const end = power === 32 ? 2 * start - 1 : 2 * start;
  const first = gainOf(start);
  const middle = gainOf(start * 1.5) - first;
  const last = gainOf(end) - first;
  return [first, 4 * middle - last, 2 * last - 4 * middle];
});

function gainAt(noise) {
  if (noise < 2) return GAINS[noise][0];
  const power = bits(noise);
  const shifted = power < 11 ? noise << (11 - power) : noise >>> (power - 11);
  const part = shifted & 1023;
  const [start, slope, bend] = GAINS[power];
  const along = Math.imul(((bend * part) >> 5) + (slope << 5), part);
  return ((along + 16384) >> 15) + start;
}

/** How far log2(1 + i / 128) lies above its chord, in units of 2^-16. */
const ABOVE_CHORD = Uint16Array.from({length: 130}, (_, i) =>
  i > 128 ? 0 : Math.round(65536 * (Math.log2(1 + i / 128) - i / 128)));

/** The natural logarithm times 64, of a whole number above 1. */
function logarithm(value) {
  const power = bits(value) - 1;
  const over = value - 2 ** power;
  const part = power < 16 ? over << (16 - power) : over >>> (power - 16);
  const segment = part >> 9;
  const base = ABOVE_CHORD[segment];
  const slope = ABOVE_CHORD[segment + 1] - base;
  const log2 = power * 65536 + part + base + ((slope * (part & 511)) >> 16);
  const loge = Math.floor((45426 * log2 + 32768) / 65536);
  return Math.floor((loge * 64 + 32768) / 65536);
}

/** The square root, rounded. */
function root(value) {
  let found = Math.floor(Math.sqrt(value));
  if (found * found > value) found--;
  const most = value < 2 ** 32 ? 0xffff : 0xffffffff;
  return found + (value - found * found > found && found !== most ? 1 : 0);
}

/** Turns windows of sound into frames of features; remembers the noise. */
export class MicroFrontend {
  constructor() {
    this.noise = new Uint32Array(CHANNELS);
  }

  /**
   * @param {Int16Array} sound at least 480 samples at 16 kHz.
   * @return {Uint16Array} 40 features, in steps of the front end.
   */
  frame(sound) {
    const {energy, shift} = spectrum(sound);
    const sums = filtered(energy);
    const features = new Uint16Array(CHANNELS);
    for (let channel = 0; channel < CHANNELS; channel++) {
      const signal = Math.floor(root(sums[channel + 1]) / 2 ** shift);
      const clean = this.#withoutNoise(signal, channel);
      const loud = this.#withGain(clean, channel) << CORRECTION_BITS >>> 0;
      features[channel] = loud > 1 ? Math.min(logarithm(loud), 0xffff) : 0;
    }
    return features;
  }

  #withoutNoise(signal, channel) {
    const scaled = signal << SMOOTHING_BITS >>> 0;
    const part = SMOOTHING[channel & 1];
    const estimate = Math.floor(
      (scaled * part + this.noise[channel] * (NOISE_ONE - part)) / NOISE_ONE);
    this.noise[channel] = estimate;
    const least = Math.floor(signal * LEAST_LEFT / NOISE_ONE);
    const left = (scaled - Math.min(estimate, scaled)) >>> SMOOTHING_BITS;
    return Math.max(left, least);
  }

  #withGain(signal, channel) {
    const gain = gainAt(this.noise[channel]);
    const ratio = Math.floor(signal * gain / 2 ** SNR_SHIFT) >>> 0;
    return ratio < 2 << SNR_BITS ?
      Math.imul(ratio, ratio) >>> 20 : (ratio >>> 6) - 64;
  }
}

/** The energy of each bin of a window, and by how much it was made louder. */
function spectrum(sound) {
  const input = new Int16Array(FFT_SIZE);
  let loudest = 0;
  for (let i = 0; i < WINDOW; i++) {
    input[i] = (sound[i] * COEFFICIENTS[i]) >> 12;
    const size = input[i] === -32768 ? 0 : Math.abs(input[i]);
    if (size > loudest) loudest = size;
  }
  const shift = 15 - bits(loudest);
  for (let i = 0; i < WINDOW; i++) input[i] = input[i] << shift;
  const {re, im} = realFft(input);
  const energy = Float64Array.from(re, (r, i) => r * r + im[i] * im[i]);
  return {energy, shift};
}

/** What each channel of the filterbank gathers; the first is left out later. */
function filtered(energy) {
  const sums = new Float64Array(CHANNELS + 2);
  for (const {bin, channel, weight, rest} of BANK) {
    sums[channel] += weight * energy[bin];
    sums[channel + 1] += rest * energy[bin];
  }
  return sums;
}

/**
 * The features of one second, from a front end that has heard nothing before.
 *
 * @param {Int16Array} clip 16000 samples at 16 kHz.
 * @return {Float32Array} 49 * 40 numbers, frame by frame, 0 to about 26.
 */
export function features(clip) {
  if (!(clip instanceof Int16Array) || clip.length !== CLIP_SAMPLES) {
    throw new Error(
      `need an Int16Array of ${CLIP_SAMPLES} samples at ${SAMPLE_RATE} Hz, ` +
      `got ${clip?.constructor?.name} of ${clip?.length}`);
  }
  const frontend = new MicroFrontend();
  const found = new Float32Array(FRAMES * CHANNELS);
  for (let frame = 0; frame * STEP + WINDOW <= CLIP_SAMPLES; frame++) {
    const values = frontend.frame(clip.subarray(frame * STEP));
    if (frame % STRIDE) continue;
    for (let channel = 0; channel < CHANNELS; channel++) {
      found[frame / STRIDE * CHANNELS + channel] = values[channel] * UNIT;
    }
  }
  return found;
}
