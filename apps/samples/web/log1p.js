/**
 * log(1 + x) in single precision, rounded as C's libraries round it.
 *
 * The weights of the audio front end's filterbank are made with C's log1pf,
 * whose last bit is not always the nearest: JavaScript's Math.log1p would give
 * two of 236 weights another last bit. This is fdlibm's method, which glibc
 * (before 2.41), newlib and musl have: x is brought into [0.7, 1.4] by a power
 * of two, and a polynomial in s = f / (2 + f) does the rest.
 */

const float = Math.fround;

const LN2_HIGH = float(6.9313812256e-01), LN2_LOW = float(9.0580006145e-06);

const SERIES = [
  6.6666668653e-01, 4.0000000596e-01, 2.8571429849e-01, 2.2222198546e-01,
  1.8183572590e-01, 1.5313838422e-01, 1.4798198640e-01,
].map(float);

/**
 * @param {number} x of single precision, 0.001 to 1000.
 * @return {number} log(1 + x), of single precision.
 */
export function log1p(x) {
  let power = 0, f = x, lost = 0;
  if (x >= Math.SQRT2 - 1) {
    let sum = float(1 + x);
    while (sum >= Math.SQRT2) {
      sum /= 2;
      power++;
    }
    const whole = float(1 + x);
    lost = float(float(power ? 1 - float(whole - x) : x - float(whole - 1)) /
      whole);
    f = float(sum - 1);
  }
  const half = float(float(0.5 * f) * f);
  const s = float(f / float(2 + f));
  const z = float(s * s);
  const tail = SERIES.reduceRight((rest, c) => float(z * float(c + rest)), 0);
  const bent = float(s * float(half + tail));
  if (!power) return float(f - float(half - bent));
  const low = float(float(power * LN2_LOW) + lost);
  const inner = float(float(half - float(bent + low)) - f);
  return float(float(power * LN2_HIGH) - inner);
}
