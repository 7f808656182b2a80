/**
 * Constructable style sheets: they work under a content security policy without inline styles.
 */

/** By their text. @type {Map<string, CSSStyleSheet>} */
const sheets = new Map();

/** Adds styles to a document or a shadow root, once. @param {Document|ShadowRoot} root @param {string} css */
export function adoptStyles(root, css) {
  let sheet = sheets.get(css);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    sheets.set(css, sheet);
  }
  if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets.push(sheet);
}
