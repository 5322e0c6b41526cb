// What scrolls sideways in its own box can be reached and scrolled with the keyboard.
(() => {
  const mark = () => {
    for (const box of document.querySelectorAll("figure, .output.text_html, .pst-scrollable-table-container, div.highlight pre, .math.notranslate, mjx-container[display], div.output pre")) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else if (box.tabIndex === 0) box.removeAttribute("tabindex");
    }
  };
  addEventListener("load", () => {
    mark();
    const text = document.querySelector("article");  // grows as formulas are set and images come
    if (text) new ResizeObserver(mark).observe(text);
  });
  addEventListener("resize", mark);
})();
