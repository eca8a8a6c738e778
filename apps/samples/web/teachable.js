/**
 * A model that trains itself, called by the names of its signatures.
 *
 * The model is a .tflite that `tflm-fg-export --target=signatures
 * --io=float32` wrote; LiteRT.js runs it. Nothing here depends on the page, so
 * that Node runs it as well.
 */
import {Tensor, loadAndCompile, loadLiteRt} from '@litertjs/core';

const NEEDED = [
  'infer', 'remember', 'train', 'get_weights', 'set_weights', 'reset'];

/** Loads LiteRT.js itself; once a page. */
export async function loadEngine(folder) {
  await loadLiteRt(folder);
}

export class Teachable {
  #model;

  /** Use `open`. */
  constructor(model) {
    this.#model = model;
  }

  /**
   * @param {Uint8Array} data the .tflite.
   * @return {Promise<Teachable>} a model that has learned nothing yet.
   */
  static async open(data) {
    const model = await loadAndCompile(data, {accelerator: 'wasm'});
    const missing = NEEDED.filter((name) => !(name in model.signatures));
    if (missing.length) {
      model.delete();
      throw new Error(
        `the model has no signature ${missing.join(', ')}; write it with ` +
        'tflm-fg-export --target=signatures --io=float32');
    }
    return new Teachable(model);
  }

  /** The shape of one sample, and how many classes there are. */
  get shape() {
    return [...this.#details('infer', 'Input')[0].shape];
  }

  get classes() {
    return this.#details('infer', 'Output')
      .find(({name}) => name === 'probabilities').shape.at(-1);
  }

  #details(signature, what) {
    return this.#model.signatures[signature][`get${what}Details`]();
  }

  /**
   * Runs a signature.
   *
   * @param {string} signature its name.
   * @param {Object<string, ArrayLike<number>>} given numbers for each input.
   * @return {Promise<Object<string, TypedArray>>} numbers of each output.
   */
  async call(signature, given = {}) {
    const inputs = {};
    try {
      for (const {name, dtype, shape} of this.#details(signature, 'Input')) {
        if (!(name in given)) throw new Error(`${signature} needs ${name}`);
        const count = shape.reduce((product, size) => product * size, 1);
        if (given[name].length !== count) {
          throw new Error(
            `${signature}: ${name} needs ${count} numbers, got ` +
            `${given[name].length}`);
        }
        const kind = dtype === 'int32' ? Int32Array : Float32Array;
        inputs[name] = new Tensor(kind.from(given[name]), [...shape]);
      }
      const outputs = await this.#model.run(signature, inputs);
      const found = {};
      for (const [name, tensor] of Object.entries(outputs)) {
        found[name] = tensor.toTypedArray().slice();
        tensor.delete();
      }
      return found;
    } finally {
      Object.values(inputs).forEach((tensor) => tensor.delete());
    }
  }

  /** What the model takes a sample for: the score of each class. */
  async infer(x) {
    return (await this.call('infer', {x})).probabilities;
  }

  /** Keeps a sample to learn from; how many are kept now. */
  async remember(x, label) {
    return (await this.call('remember', {x, y: [label]})).count[0];
  }

  /** Learns from what is kept; the loss after it, or -1 if it refused. */
  async train(steps, rate) {
    const {loss} = await this.call('train', {steps: [steps], rate: [rate]});
    return loss[0];
  }

  /** Whether the model can adapt its input (--trainable=auto or prompt). */
  get adaptsInput() {
    return 'adapt_input' in this.#model.signatures;
  }

  /**
   * Lets the model adapt its input to a new voice or microphone. Samples of
   * all classes must be among them; call it before `remember`, since what was
   * remembered is forgotten where the input changes.
   *
   * @param {{features: Float32Array, label: number}[]} samples in an order that
   *   mixes the classes; each epoch begins one sample later.
   * @param {number} epochs how often all of them are shown.
   * @return {Promise<boolean>} whether `infer` has another input now.
   */
  async adaptInput(samples, epochs = 8) {
    const {shape} = this.#details('adapt_input', 'Input')
      .find(({name}) => name === 'x');
    const batch = shape[0], size = samples[0].features.length;
    let calls = 0, isChanged = false;
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (let start = 0; start < samples.length; start += batch) {
        const x = new Float32Array(batch * size);
        const y = new Int32Array(batch).fill(-1); // no class: left out
        const count = Math.min(batch, samples.length - start);
        for (let place = 0; place < count; place++) {
          const index = (start + place + epoch) % samples.length;
          x.set(samples[index].features, place * size);
          y[place] = samples[index].label;
        }
        const {changed} = await this.call(
          'adapt_input', {x, y, seed: [calls++]});
        isChanged ||= changed[0] > 0;
      }
    }
    return isChanged;
  }

  /** What was learned, as numbers by name; it says nothing of the samples. */
  weights() {
    return this.call('get_weights');
  }

  /** Gives back what `weights` gave, here or in another page. */
  async restore(weights) {
    const wanted = this.#details('set_weights', 'Input');
    for (const {name, shape} of wanted) {
      const count = shape.reduce((product, size) => product * size, 1);
      if (weights?.[name]?.length !== count) {
        throw new Error(`what was saved has no ${count} numbers of ${name}`);
      }
    }
    const {accepted} = await this.call('set_weights', weights);
    if (accepted && !accepted[0]) throw new Error('the model refused them');
  }

  /** Forgets what was learned, and the samples. */
  async reset() {
    await this.call('reset');
  }

  /** The share of samples, [{features, label}], that it gets right. */
  async accuracy(samples) {
    let right = 0;
    for (const {features, label} of samples) {
      right += best(await this.infer(features)) === label ? 1 : 0;
    }
    return samples.length ? right / samples.length : NaN;
  }
}

/** The place of the largest number; the first of several. */
export function best(numbers) {
  return numbers.indexOf(Math.max(...numbers));
}

/** Eight digits that tell whether two sets of weights are the same (FNV-1a). */
export function checksum(weights) {
  let hash = 0x811c9dc5;
  for (const name of Object.keys(weights).sort()) {
    const {buffer, byteOffset, byteLength} = weights[name];
    for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) {
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
  }
  return (hash >>> 0).toString(16).padStart(8, '0');
}
