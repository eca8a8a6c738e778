/** What the page shows: states, samples, results. */

export const element = (id) => document.getElementById(id);

/** Says what happens, or what went wrong. */
export function say(text, isFault = false) {
  element('state').textContent = text;
  element('state').classList.toggle('fault', isFault);
}

const CONTROLS = ['record', 'files', 'learn', 'try', 'save', 'forget'];

/** Lets the user act, or not while something runs. */
export function enable(isOn) {
  for (const id of CONTROLS) element(id).disabled = !isOn;
  document.body.dataset.busy = isOn ? 'no' : 'yes';
}

/** Lists the words to choose from; the choice stays. */
export function showWords(words) {
  const select = element('word'), chosen = select.value;
  select.replaceChildren(
    new Option('by file name', ''),
    ...words.map((word, label) => new Option(word, label)));
  select.value = chosen;
}

/** Fields for the names of new words; `changed(label, name)` hears of each. */
export function showNewWords(words, labels, changed) {
  element('new-words').hidden = !labels.length;
  element('new-words').replaceChildren(
    element('new-words').querySelector('legend'),
    ...labels.map((label, number) => {
      const caption = document.createElement('label');
      const field = document.createElement('input');
      field.value = words[label];
      field.maxLength = 30;
      field.autocomplete = 'off';
      field.addEventListener('change', () => {
        changed(label, field.value.trim() || words[label]);
        field.value = words[label];
      });
      caption.append(`New word ${number + 1} `, field);
      return caption;
    }));
}

/** One share as people read it, with the numbers behind it. */
export function share(right, all) {
  return all ? `${(100 * right / all).toFixed(1)} % (${right} of ${all})` : '–';
}

function row(word, counts) {
  const line = document.createElement('tr');
  const head = document.createElement('th');
  head.scope = 'row';
  head.textContent = word;
  line.append(head, ...counts.map((count) => {
    const cell = document.createElement('td');
    cell.textContent = count;
    return cell;
  }));
  return line;
}

/** A row a word that has samples. */
export function showSamples(words, samples) {
  const rows = words.map((word, label) => {
    const own = samples.filter((sample) => sample.label === label);
    const tests = own.filter((sample) => sample.role === 'test');
    const right = (when) => tests.some((sample) => when in sample) ?
      tests.filter((sample) => sample[when] === label).length : '–';
    return own.length ? row(word, [
      own.length - tests.length, tests.length, right('first'), right('now'),
    ]) : null;
  });
  element('samples').replaceChildren(...rows.filter(Boolean));
}

/** Scores as probabilities; many models, ours too, end before the softmax. */
export function probabilitiesOf(scores) {
  const sum = scores.reduce((total, score) => total + score, 0);
  if (scores.every((score) => score >= 0) && Math.abs(sum - 1) < 0.1) {
    return scores;
  }
  const most = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - most));
  const all = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / all);
}

/** The three most probable words. */
export function showHeard(words, scores) {
  const probabilities = probabilitiesOf(scores);
  const order = [...probabilities.keys()]
    .sort((a, b) => probabilities[b] - probabilities[a]).slice(0, 3);
  element('heard').textContent = order
    .map((label) => `${words[label]} ${Math.round(100 * probabilities[label])} %`)
    .join(', ');
}
