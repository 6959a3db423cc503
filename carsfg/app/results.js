// A click on a result or an example starts a search with its image.
element.addEventListener("click", (event) => {
  const picture = event.target.closest("button")?.querySelector("img");
  if (picture) window.dispatchEvent(new CustomEvent("carsfg-search", { detail: { url: picture.src, isScene: "scene" in picture.dataset } }));
});

watch("value", () => { // notify the photo component
  const preview = element.querySelector(".preview"), words = element.querySelector(".verdict, .problem, .hint")?.textContent;
  const first = element.querySelector(".match .name")?.textContent;
  const box = element.querySelector(".found-box")?.dataset;
  const detail = { box: box?.box.split(",").map(Number), boxNumber: box?.number, words: first ? `Most similar: ${first}. ${words}` : words, preview: preview?.src, number: preview?.dataset.number };
  window.dispatchEvent(new CustomEvent("carsfg-found", { detail }));
});
