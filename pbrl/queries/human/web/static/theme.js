"use strict";
// Runs before the page is drawn, so that a chosen theme does not flicker.
(() => {
  const read = () => { try { return localStorage.getItem("pbrl theme"); } catch { return null; } };
  const chosen = read();
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme")?.addEventListener("click", () => {
      const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
      const theme = isDark ? "light" : "dark";
      document.documentElement.dataset.theme = theme;
      try { localStorage.setItem("pbrl theme", theme); } catch { /* it lasts until the page goes */ }
    });
  });
})();
