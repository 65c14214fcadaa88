"use strict";
// The theme puts a wide table into a box that scrolls. The keyboard scrolls what it can reach, so such a box is a stop.
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});
const watch = () => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap:not([data-watched])")) {
    box.dataset.watched = "";
    sizes.observe(box);
  }
};
watch();
new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
