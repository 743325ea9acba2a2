// Runs before the first paint: the colours that were chosen, else those of the system.
"use strict";
(() => {
  const CHOICES = ["auto", "light", "dark"];
  const NAME = "whisper-router-theme";
  let chosen = "auto";
  try {
    chosen = localStorage.getItem(NAME) ?? "auto";
  } catch {
    // storage is switched off: the system's colours it is
  }
  const apply = () => {
    document.documentElement.dataset.theme = chosen;
    const button = document.getElementById("theme");
    if (button) {
      button.querySelector(".theme-name").textContent = chosen;
    }
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = CHOICES[(CHOICES.indexOf(chosen) + 1) % CHOICES.length];
      try {
        localStorage.setItem(NAME, chosen);
      } catch {
        // it holds until the page is closed
      }
      apply();
    });
  });
})();
