/**
 * Texts with the escape codes of terminals as nodes with classes. Loaded when a text contains such codes.
 */
import { AnsiUp } from "./vendor/ansi_up/ansi_up.js";

const STYLES = ["bold", "italic", "underline"];

/** Collects nodes where AnsiUp makes markup. */
class NodeParser extends AnsiUp {
  nodes = [];

  transform_to_html(fragment) {
    const node = document.createElement("span");
    node.textContent = fragment.text;
    const classes = STYLES.filter((name) => fragment[name]).map((name) => `ansi-${name}`);
    colour(node, classes, "--ansi-color", "fg", fragment.fg);
    colour(node, classes, "--ansi-background", "bg", fragment.bg);
    if (classes.length) node.className = classes.join(" ");
    this.nodes.push(classes.length ? node : fragment.text);
    return "";
  }

  process_hyperlink({ text }) {
    this.nodes.push(text);
    return "";
  }
}

function colour(node, classes, property, suffix, value) {
  if (!value) return;
  classes.push(`ansi-${suffix}`);
  if (value.class_name === "truecolor") node.style.setProperty(property, `rgb(${value.rgb.join(" ")})`);
  else classes.push(`${value.class_name}-${suffix}`);
}

/** @param {string} text @returns {(Node|string)[]} Nodes without escape codes. */
export function ansiNodes(text) {
  const parser = new NodeParser();
  parser.ansi_to_html(text);
  // AnsiUp waits for the end of a code that is incomplete; the text has none.
  if (parser._buffer) parser.nodes.push(parser._buffer.replaceAll("\x1b", ""));
  return parser.nodes;
}
