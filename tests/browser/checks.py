"""Checks of a page: rules of axe-core, and the layout."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe

# Django's own parts of the admin.
DJANGO_PARTS = [[".breadcrumbs"], ["#searchbar"], [".small > a"], [".inline-group"]]
# Text in boxes that intersect, unless one contains the other, or is laid over the page.
OVERLAPS = """() => {
  const boxes = [];
  const VISIBLE = { opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || !parent.checkVisibility(VISIBLE)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    let layer = "page";
    let clip = { left: -Infinity, right: Infinity, top: -Infinity, bottom: Infinity };
    for (let each = parent; each; each = each.parentElement) {
      const style = getComputedStyle(each);
      const box = each.getBoundingClientRect();
      if (["fixed", "sticky"].includes(style.position) || style.clipPath !== "none") layer = "other";
      if (style.overflowX !== "visible") clip = { ...clip, left: Math.max(clip.left, box.left), right: Math.min(clip.right, box.right) };
      if (style.overflowY !== "visible") clip = { ...clip, top: Math.max(clip.top, box.top), bottom: Math.min(clip.bottom, box.bottom) };
    }
    for (const line of layer === "page" ? range.getClientRects() : []) {
      const [left, right] = [Math.max(line.left, clip.left), Math.min(line.right, clip.right)];
      const [top, bottom] = [Math.max(line.top, clip.top), Math.min(line.bottom, clip.bottom)];
      if (right - left > 4 && bottom - top > 4) boxes.push({ node, parent, left, right, top, bottom });
    }
  }
  boxes.sort((a, b) => a.top - b.top);
  const found = [];
  boxes.forEach((a, index) => {
    for (let at = index + 1; at < boxes.length && boxes[at].top < a.bottom - 4; at += 1) {
      const b = boxes[at];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const isNested = a.parent.contains(b.parent) || b.parent.contains(a.parent);
      if (across > 4 && !isNested) found.push(`${a.node.data.trim().slice(0, 40)} / ${b.node.data.trim().slice(0, 40)}`);
    }
  });
  return found.slice(0, 10);
}"""  # noqa: E501


# Those that never end, such as of the dot of a live page, are not waited for.
END_OF_ANIMATIONS = """() => Promise.all(document.getAnimations()
    .filter(({ effect }) => effect.getComputedTiming().endTime < Infinity)
    .map(({ finished }) => finished))"""


def check_layout(page: Any, width: int) -> None:
    """Check that the page is not wider than the window, and that no texts overlap."""
    shown = page.evaluate("document.documentElement.scrollWidth")
    assert shown <= width, f"{page.url} is {shown} px wide"
    found = page.evaluate(OVERLAPS)
    assert not found, f"{page.url}: {found}"


# The others do not depend on the colour scheme.
COLOUR_RULES = ["color-contrast", "link-in-text-block"]


def check_accessibility(
    page: Any, excluded: Any = DJANGO_PARTS, known: tuple[str, list[str]] | None = None
) -> None:
    """Check the rules of axe-core in light colours, and those of colours in dark ones, too.

    `known` is a violation that is ignored: its rule, and its element.
    """
    for scheme, rules in (("light", {}), ("dark", {"runOnly": COLOUR_RULES})):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(END_OF_ANIMATIONS)
        options = {"resultTypes": ["violations"], **rules}
        result = Axe().run(page, context={"exclude": excluded}, options=options)
        found = [
            f"{violation['id']}: {node['target']} {node['html'][:200]}"
            for violation in result.response["violations"]
            for node in violation["nodes"]
            if (violation["id"], node["target"]) != known
        ]
        assert not found, f"{page.url}, {scheme}: {found}"
    page.emulate_media(color_scheme="light")
