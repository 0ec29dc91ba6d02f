// Keys for what links and forms do without them. Nothing is fetched.
(() => {
  "use strict";
  const entries = [...document.querySelectorAll(".entry")];
  let at = Math.max(0, entries.findIndex((one) => one.classList.contains("current") || `#${one.id}` === location.hash));
  let moved = entries.some((one) => one.classList.contains("current") || (one.id && `#${one.id}` === location.hash));

  const mark = (scroll) => {
    entries.forEach((one, number) => one.classList.toggle("current", number === at && moved));
    const one = entries[at];
    if (!one || !moved) return;
    (one.querySelector(":scope > a") || one).focus({ preventScroll: true });
    if (scroll) one.scrollIntoView({ block: one.tagName === "LI" ? "nearest" : "start" });
  };
  const move = (step) => {
    if (!entries.length) return;
    at = moved ? Math.min(entries.length - 1, Math.max(0, at + step)) : 0;
    moved = true;
    mark(true);
  };
  const follow = (selector) => document.querySelector(selector)?.click();
  const open = () => {
    if (moved) entries[at]?.querySelector("a, summary")?.click();
  };
  const label = (key) => {
    const scope = moved ? entries[at] : document.querySelectorAll("form.label").length === 1 ? document : null;
    scope?.querySelector(`form.label button[data-key="${key}"]`)?.click();
  };
  const keys = () => {
    location.hash = location.hash === "#keys" ? "#main" : "#keys";
  };
  const actions = {
    j: () => move(1), k: () => move(-1), n: () => follow('a[rel="next"]'), p: () => follow('a[rel="prev"]'),
    r: () => label("r"), w: () => label("w"), u: () => label("u"), "?": keys,
    "/": () => document.querySelector('input[type="search"]')?.focus(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (event.key === "Escape") {
      if (location.hash === "#keys") keys();
      target.blur?.();
      return;
    }
    if (target.matches?.("input, select, textarea")) return;
    if (event.key === "Enter") {
      if (!target.matches?.("a, button, summary")) open();
      return;
    }
    const action = actions[event.key];
    if (!action || event.repeat && !"jk".includes(event.key)) return;
    event.preventDefault();
    action();
  });
  document.querySelectorAll(".filters select").forEach((one) => one.addEventListener("change", () => one.form.requestSubmit()));
  document.querySelectorAll("form.label").forEach((one) => one.addEventListener("submit", () => one.classList.add("sent")));
  mark(false);
})();
