// What scrolls sideways in its own box can be reached and scrolled with the keyboard.
(() => {
  const boxes = "figure, .output.text_html, .pst-scrollable-table-container, div.highlight pre, mjx-container[display], div.output pre";
  const scrolls = (box) => box.scrollWidth > box.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
  const mark = () => {
    for (const box of document.querySelectorAll(boxes)) {
      if (scrolls(box)) box.setAttribute("tabindex", "0");
      else if (box.getAttribute("tabindex") === "0") box.removeAttribute("tabindex");
    }
  };
  addEventListener("load", () => {
    mark();
    const text = document.querySelector("article");  // grows as formulas are set and images come
    if (text) new ResizeObserver(mark).observe(text);
    window.MathJax?.startup?.promise?.then(mark);
  });
  addEventListener("resize", mark);
})();
