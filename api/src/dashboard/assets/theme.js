// Applies the colours that were chosen before anything is drawn. A plain script: modules would come too late.
(() => {
  const KEY = "millrace.theme";
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  const chosen = () => {
    try { return localStorage.getItem(KEY) ?? "auto"; } catch { return "auto"; }
  };
  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = chosen();
    select.addEventListener("change", () => {
      apply(select.value);
      try { localStorage.setItem(KEY, select.value); } catch { /* Not kept, that is all. */ }
    });
  });
})();
