// Before anything is drawn: the theme that this browser prefers; without one, the system's.
(() => {
  const theme = localStorage.getItem("energy.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
