"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const found = [...document.querySelectorAll("#examples ~ .example")].map((element) => ({
    element,
    tags: new Set(element.dataset.tags.split(" ")),
    words: null,
  }));
  const said = form.querySelector("output");
  const apply = () => {
    const query = form.elements.words.value.trim().toLowerCase();
    const wanted = [...form.querySelectorAll("select")].map((one) => one.value).filter(Boolean);
    let shown = 0;
    for (const one of found) {
      if (query && one.words === null) one.words = one.element.textContent.toLowerCase();
      const fits = wanted.every((tag) => one.tags.has(tag)) && (!query || one.words.includes(query));
      one.element.hidden = !fits;
      shown += fits;
    }
    said.textContent = shown + " of " + found.length;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
})();
