/**
 * The theme: that of the system, or the one that the user has chosen in the menu. Runs before the first paint, so
 * that the other theme does not flash. The event "job-events-theme" of the document reports a change.
 */
(() => {
  const KEY = "job-events-theme";
  const root = document.documentElement;

  function stored() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // the browser refuses storage to the page
    }
  }

  function store(theme) {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // the choice holds for this page
    }
  }

  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    document.dispatchEvent(new Event("job-events-theme"));
  }

  function showSwitch() {
    const choices = document.getElementById("theme");
    if (!choices) return;
    const show = () => {
      for (const input of choices.querySelectorAll("input")) input.checked = input.value === (root.dataset.theme ?? "");
    };
    choices.hidden = false;
    show();
    choices.addEventListener("change", ({ target }) => {
      store(target.value);
      apply(target.value);
    });
    addEventListener("pageshow", (event) => event.persisted && (apply(stored()), show()));
    addEventListener("storage", ({ key, newValue }) => {
      if (key !== KEY) return;
      apply(newValue);
      show();
    });
  }

  root.dataset.scripted = "";
  apply(stored());
  document.addEventListener("DOMContentLoaded", showSwitch);
})();
