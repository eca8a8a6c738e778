/**
 * A fixed-point FFT of 512 real numbers, with the rounding of KissFFT's 16-bit
 * arithmetic, which TensorFlow Lite Micro's audio front end is built on.
 *
 * Numbers are int16 in units of 2^-15. Each of the four stages of radix 4
 * divides by 4, so that nothing overflows: the result is the spectrum / 512.
 */

const SIZE = 512;
const HALF = SIZE / 2; // complex numbers in flight
const ONE = 32767;

/** A product of two numbers in units of 2^-15, still in units of 2^-30. */
const rounded = (product) => ((product + 16384) >> 15 << 16) >> 16;

const int16 = (value) => (value << 16) >> 16;

/** Divides by 2 or 4 as KissFFT does: by a multiplication, rounded. */
const divided = (value, by) =>
  rounded(Math.imul(value, Math.trunc(ONE / by)));

/** cos and sin of each phase, int16. */
function circle(phases) {
  const fixed = (value) => Math.floor(0.5 + ONE * value);
  return {
    re: Int16Array.from(phases, (phase) => fixed(Math.cos(phase))),
    im: Int16Array.from(phases, (phase) => fixed(Math.sin(phase))),
  };
}

const indices = (count) => Array.from({length: count}, (_, i) => i);

const TWIDDLES = circle(indices(HALF).map((i) => -2 * Math.PI * i / HALF));
const SPLIT = circle(
  indices(HALF / 2).map((i) => -Math.PI * ((i + 1) / HALF + 0.5)));

/** Where the number i of the input stands before the first stage. */
const ORDER = Uint8Array.from(indices(HALF), (i) =>
  ((i & 3) << 6) | ((i & 12) << 2) | ((i & 48) >> 2) | (i >> 6));

const sum = (a, b) => int16(a + b);
const difference = (a, b) => int16(a - b);

const LEGS = new Int32Array(8); // four complex numbers on their way

/** Divides one number by 4 and turns it by an angle. */
function turn(re, im, place, leg, angle) {
  const r = divided(re[place], 4), i = divided(im[place], 4);
  const c = TWIDDLES.re[angle], s = TWIDDLES.im[angle];
  LEGS[2 * leg] = rounded(Math.imul(r, c) - Math.imul(i, s));
  LEGS[2 * leg + 1] = rounded(Math.imul(r, s) + Math.imul(i, c));
}

/** One butterfly of radix 4, in place. */
function butterfly(re, im, at, span, angle) {
  for (let leg = 1; leg < 4; leg++) {
    turn(re, im, at + leg * span, leg, leg * angle);
  }
  const r0 = divided(re[at], 4), i0 = divided(im[at], 4);
  const r1 = LEGS[2], i1 = LEGS[3], r2 = LEGS[4], i2 = LEGS[5];
  const r3 = LEGS[6], i3 = LEGS[7];
  const outerRe = difference(r0, r2), outerIm = difference(i0, i2);
  const evenRe = sum(r0, r2), evenIm = sum(i0, i2);
  const oddRe = sum(r1, r3), oddIm = sum(i1, i3);
  const turnRe = difference(r1, r3), turnIm = difference(i1, i3);
  re[at] = evenRe + oddRe;
  im[at] = evenIm + oddIm;
  re[at + 2 * span] = evenRe - oddRe;
  im[at + 2 * span] = evenIm - oddIm;
  re[at + span] = outerRe + turnIm;
  im[at + span] = outerIm - turnRe;
  re[at + 3 * span] = outerRe - turnIm;
  im[at + 3 * span] = outerIm + turnRe;
}

/**
 * The spectrum of 512 real numbers.
 *
 * @param {Int16Array} input of 512 numbers.
 * @return {{re: Int16Array, im: Int16Array}} 257 complex numbers, from 0 Hz to
 *   half the sampling rate, divided by 512.
 */
export function realFft(input) {
  const re = new Int16Array(HALF), im = new Int16Array(HALF);
  for (let i = 0; i < HALF; i++) {
    re[ORDER[i]] = input[2 * i];
    im[ORDER[i]] = input[2 * i + 1];
  }
  for (let span = 1; span < HALF; span *= 4) {
    const stride = HALF / (4 * span);
    for (let start = 0; start < HALF; start += 4 * span) {
      for (let k = 0; k < span; k++) {
        butterfly(re, im, start + k, span, k * stride);
      }
    }
  }
  return split(re, im);
}

/** Parts the spectrum of pairs into that of the numbers one by one. */
function split(re, im) {
  const outRe = new Int16Array(HALF + 1), outIm = new Int16Array(HALF + 1);
  const r = divided(re[0], 2), i = divided(im[0], 2);
  outRe[0] = r + i;
  outRe[HALF] = r - i;
  for (let k = 1; k <= HALF / 2; k++) {
    const other = HALF - k;
    const ar = divided(re[k], 2), ai = divided(im[k], 2);
    const br = divided(re[other], 2), bi = divided(-im[other], 2);
    const evenRe = sum(ar, br), evenIm = sum(ai, bi);
    const oddRe = difference(ar, br), oddIm = difference(ai, bi);
    const c = SPLIT.re[k - 1], s = SPLIT.im[k - 1];
    const turnedRe = rounded(Math.imul(oddRe, c) - Math.imul(oddIm, s));
    const turnedIm = rounded(Math.imul(oddRe, s) + Math.imul(oddIm, c));
    outRe[k] = (evenRe + turnedRe) >> 1;
    outIm[k] = (evenIm + turnedIm) >> 1;
    outRe[other] = (evenRe - turnedRe) >> 1;
    outIm[other] = (turnedIm - evenIm) >> 1;
  }
  return {re: outRe, im: outIm};
}
