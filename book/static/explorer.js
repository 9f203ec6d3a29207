/* What a page with widgets needs besides the widget manager, which knows neither MathJax 3 nor names
   for the handles of its sliders, and brings styles for icons whose fonts it does not bring. */
(function () {
  "use strict";

  /* The manager speaks to MathJax 2: MathJax.Hub.Queue(["Typeset", MathJax.Hub, element]). */
  document.addEventListener("DOMContentLoaded", function () {
    window.MathJax = window.MathJax || {};
    window.MathJax.Hub = {
      Queue: function (call) {
        if (call[0] === "Typeset" && window.MathJax.typesetPromise) {
          window.MathJax.typesetPromise([call[2]]);
        }
      },
    };
  });

  /* Its icons would take the place of the page's own and ask for fonts that are not there. */
  new MutationObserver(function (changes) {
    changes.forEach(function (change) {
      change.addedNodes.forEach(function (node) {
        if (node.nodeName === "STYLE" && node.textContent.includes("Font Awesome 5")) node.remove();
      });
    });
  }).observe(document.head, { childList: true });

  /* A slider's handle takes its name from the label before it and its value from the one behind. */
  function nameHandles() {
    document.querySelectorAll(".noUi-handle").forEach(function (handle) {
      const box = handle.closest(".jupyter-widgets");
      const label = box && box.querySelector(".widget-label");
      const readout = box && box.querySelector(".widget-readout");
      set(handle, "aria-label", label && label.textContent);
      set(handle, "aria-valuetext", readout && readout.textContent);
    });
  }

  function set(element, name, text) {
    if (text && element.getAttribute(name) !== text) element.setAttribute(name, text);
  }

  document.addEventListener("DOMContentLoaded", function () {
    nameHandles();
    new MutationObserver(nameHandles).observe(document.body, {
      childList: true, subtree: true, characterData: true,
      attributes: true, attributeFilter: ["aria-valuenow", "aria-valuetext"],
    });
  });
})();
