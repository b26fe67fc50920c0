// Parts of the document, of the kind that they are known to be.

/**
 * The part of the page with an id.
 *
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} kind
 */
export function part(id, kind = /** @type {any} */ (HTMLElement)) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} ${id}`);
  return found;
}

/**
 * What draws on a canvas.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {CanvasRenderingContext2DSettings} [settings]
 */
export function pen(canvas, settings) {
  const context = canvas.getContext("2d", settings);
  if (!context) throw new Error("the browser draws on no canvas");
  return context;
}

/**
 * The part nearest around where an event happened that a selector fits.
 *
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export function around(event, selector) {
  return event.target instanceof Element ? event.target.closest(selector) : null;
}

/**
 * Put a section with a title at the end of the page.
 *
 * @param {string} name it and its title have as id, before `-section` and `-title`
 * @param {string} title
 */
export function section(name, title) {
  const made = part("panels").appendChild(document.createElement("section"));
  made.id = `${name}-section`;
  made.setAttribute("aria-labelledby", `${name}-title`);
  const bar = made.appendChild(document.createElement("div"));
  bar.className = "bar";
  const head = bar.appendChild(document.createElement("h2"));
  head.id = `${name}-title`;
  head.textContent = title;
  return { section: made, bar };
}
