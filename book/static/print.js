/* Paper is white: print in the light theme, whatever the screen shows, and go back to it afterwards. */
(function () {
  "use strict";
  const root = document.documentElement;
  let screen = null;

  function toPaper() {
    if (screen !== null) return;
    screen = root.dataset.theme;
    root.dataset.theme = "light";
  }

  function toScreen() {
    if (screen === null) return;
    root.dataset.theme = screen;
    screen = null;
  }

  window.addEventListener("beforeprint", toPaper);
  window.addEventListener("afterprint", toScreen);
  window.matchMedia("print").addEventListener("change", (now) => (now.matches ? toPaper() : toScreen()));
})();
