/** What was learned, kept in the browser's own database (IndexedDB). */

const DATABASE = 'tflm_fg_web_sample', TABLE = 'learned';

function asked(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function withTable(mode, work) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE);
  const database = await asked(opening);
  try {
    const transaction = database.transaction(TABLE, mode);
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
    });
    const result = await asked(work(transaction.objectStore(TABLE)));
    await done; // on disk, not just asked for
    return result;
  } finally {
    database.close();
  }
}

/** A name for a model, so that what one learned is not given to another. */
export async function keyOf(data) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
  return [...digest].map((b) => b.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {string} key of the model.
 * @param {{weights: Object<string, TypedArray>, words: string[]}} learned
 */
export const save = (key, learned) =>
  withTable('readwrite', (table) => table.put(learned, key));

/** What was saved for a model; undefined if nothing was. */
export const load = (key) => withTable('readonly', (table) => table.get(key));

export const remove = (key) =>
  withTable('readwrite', (table) => table.delete(key));
