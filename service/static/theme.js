// Runs before the first paint (a plain script, not a module), so that dark never flashes white.
// The choice is the person's if they made one, else the system's.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const read = () => {
    try {
      chosen = localStorage.getItem("theme");
    } catch {
      // Storage may be closed (private windows): then the system decides.
    }
  };

  const apply = () => {
    const theme = chosen ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(theme === "dark"));
  };

  read();
  apply();
  system.addEventListener("change", apply);
  const again = () => {
    read();
    apply();
  };
  // Chosen in another tab, or so shortly before this page that what it read first was the old choice.
  addEventListener("storage", again);
  // Back from the browser's cache of pages, which hears of no storage.
  addEventListener("pageshow", again);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("theme", chosen);
      } catch {
        // Not kept then; still applied to this page.
      }
      apply();
    });
  });
})();
