/** The page: samples in, learning, results, and what is kept. */
import {isSilent, oneClip, read, record} from './audio.js';
import {features} from './frontend.js';
import * as store from './store.js';
import {Teachable, best, checksum, loadEngine} from './teachable.js';
import {
  element, enable, say, share, showHeard, showNewWords, showSamples, showWords,
} from './view.js';

const ENGINE = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url);
const MODEL = 'model/spotter.tflite', ABOUT = 'model/spotter.json';
const AGAIN = 'model/again.bin';

const samples = []; // {label, role, features, kept, first, now}
let again = []; // clips of what it knew, shown again while it learns
let areAgainKept = false;
let model, key, about, words;

async function fetched(path) {
  const answer = await fetch(path);
  if (!answer.ok) {
    throw new Error(
      `${path}: ${answer.status} ${answer.statusText}; make it with prepare.py`);
  }
  return answer;
}

async function start() {
  about = await (await fetched(ABOUT)).json();
  const data = new Uint8Array(await (await fetched(MODEL)).arrayBuffer());
  key = await store.keyOf(data);
  again = shownAgain(new Int8Array(await (await fetched(AGAIN)).arrayBuffer()));
  await loadEngine(ENGINE.href);
  model = await Teachable.open(data);
  words = [...about.classes];
  if (model.classes !== words.length) {
    throw new Error(
      `${ABOUT} names ${words.length} classes, the model has ` +
      `${model.classes}; make both anew with prepare.py`);
  }
  const size = `${Math.round(data.length / 1024)} kB`;
  const isBack = await restored();
  show();
  say(isBack ?
    `Ready. The model (${size}) knows what you taught it before (checksum ` +
    `${checksum(await model.weights())}).` :
    `Ready. The model (${size}) has learned nothing here yet.`);
}

/** Clips as the model's input holds them, as samples. */
function shownAgain(numbers) {
  const {labels, scale, zero_point: zero} = about.again;
  const size = numbers.length / labels.length;
  return labels.map((label, i) => ({label, features: Float32Array.from(
    numbers.subarray(i * size, (i + 1) * size), (n) => (n - zero) * scale)}));
}

async function restored() {
  const held = await store.load(key);
  if (!held) return false;
  await model.restore(held.weights);
  about.new.forEach((label) => {
    words[label] = held.words?.[label] ?? words[label];
  });
  return true;
}

function show() {
  showNewWords(words, about.new, (label, name) => {
    if (!words.includes(name)) words[label] = name;
    show();
  });
  showWords(words);
  showSamples(words, samples);
}

/** The class of a file: what is chosen, or what its name begins with. */
function labelOf(name) {
  const chosen = element('word').value;
  if (chosen !== '') return Number(chosen);
  const parts = name.split('/').map((part) => part.split(/[_.]/)[0]);
  const found = [parts.at(-1), parts.at(-2)].map((w) => words.indexOf(w));
  return found.find((label) => label >= 0) ?? -1;
}

function roleOf(label) {
  const role = element('role').value;
  if (role !== 'auto') return role;
  const before = samples.filter((sample) => sample.label === label).length;
  return before % 3 === 2 ? 'test' : 'learn';
}

async function add(sound, label) {
  const clip = oneClip(sound);
  if (isSilent(clip) && words[label] !== 'silence') return false;
  const sample = {label, role: roleOf(label), features: features(clip)};
  if (sample.role === 'test') {
    sample.first = sample.now = best(await model.infer(sample.features));
  }
  samples.push(sample);
  return true;
}

async function addFiles() {
  const files = [...element('files').files];
  element('files').value = '';
  const unknown = [], silent = [], unread = [];
  let added = 0;
  for (const file of files) {
    const label = labelOf(file.webkitRelativePath || file.name);
    if (label < 0) {
      unknown.push(file.name);
      continue;
    }
    let sound;
    try {
      sound = await read(await file.arrayBuffer());
    } catch {
      unread.push(file.name);
      continue;
    }
    if (await add(sound, label)) added++;
    else silent.push(file.name);
    if (added % 10 === 0) say(`${added} of ${files.length} files read…`);
  }
  show();
  const left = [
    [unknown, 'begin with no word of the list'],
    [silent, 'hold silence'],
    [unread, 'are no sound that this browser reads'],
  ].filter(([names]) => names.length)
    .map(([names, why]) => ` ${names.length} left out, since they ${why}: ` +
      `${names.slice(0, 3).join(', ')}${names.length > 3 ? '…' : ''}.`);
  say(`${added} samples added.${left.join('')}`, left.length > 0);
}

async function addRecording() {
  const label = labelOf('');
  if (label < 0) throw new Error('choose the word that you are going to say');
  say(`Say “${words[label]}” now.`);
  const isHeard = await add(await record(1.2), label);
  show();
  if (isHeard) say(`One more sample of “${words[label]}”.`);
  else say('Nothing was heard; speak up, or choose another microphone.', true);
}

/** What the model takes each test sample for. */
async function judge(tests) {
  for (const sample of tests) {
    sample.now = best(await model.infer(sample.features));
  }
  return tests.filter(({label, now}) => label === now).length;
}

async function learn() {
  const fresh = samples.filter(({role, kept}) => role === 'learn' && !kept);
  const tests = samples.filter(({role}) => role === 'test');
  if (!samples.some(({role}) => role === 'learn')) {
    throw new Error('there are no samples to learn from yet');
  }
  say('Learning…');
  const before = await judge(tests);
  for (const sample of [...(areAgainKept ? [] : again), ...fresh]) {
    await model.remember(sample.features, sample.label);
    sample.kept = true;
  }
  areAgainKept = true;
  const old = checksum(await model.weights());
  const loss = await model.train(about.steps, about.rate);
  const isSame = checksum(await model.weights()) === old;
  const after = await judge(tests);
  element('before').textContent = share(before, tests.length);
  element('after').textContent = share(after, tests.length);
  show();
  if (loss < 0) {
    say('It did not learn: it needs samples of two words or more.', true);
  } else if (isSame) {
    say('Nothing changed: on the samples that it keeps aside it would not have ' +
      'been better. More samples help.', true);
  } else {
    say(`Learned from ${samples.filter(({kept}) => kept).length} samples.`);
  }
}

async function listen() {
  say('Say a word now.');
  const clip = oneClip(await record(1.2));
  showHeard(words, await model.infer(features(clip)));
  say('Ready.');
}

async function save() {
  const weights = await model.weights();
  await store.save(key, {weights, words});
  say(`Kept in this browser (checksum ${checksum(weights)}).`);
}

async function forget() {
  await model.reset();
  areAgainKept = false;
  await store.remove(key);
  words.splice(0, words.length, ...about.classes);
  samples.length = 0;
  for (const id of ['before', 'after']) element(id).textContent = '–';
  element('heard').textContent = '';
  show();
  say('All is forgotten: the model is as it came.');
}

/** Runs one thing at a time, and says what went wrong. */
async function run(work) {
  enable(false);
  try {
    await work();
  } catch (fault) {
    say(`That did not work: ${fault.message ?? fault}`, true);
  }
  if (model) enable(true);
}

const WORK = {record: addRecording, learn, try: listen, save, forget};
for (const [id, work] of Object.entries(WORK)) {
  element(id).addEventListener('click', () => run(work));
}
element('files').addEventListener('change', () => run(addFiles));
run(start);
