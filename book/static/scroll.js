/* What scrolls sideways in its own box must be reached by the keyboard, too; how wide a table is depends on
   the reader's fonts and window. */
(function () {
  "use strict";
  const boxes = ".pst-scrollable-table-container, div.cell_output, div.math";

  function mark() {
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    new ResizeObserver(mark).observe(document.body);
    document.fonts.ready.then(mark);
    mark();
  });
})();
