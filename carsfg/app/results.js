// A click on a result or an example searches with its picture.
element.addEventListener("click", (event) => {
  const picture = event.target.closest("button")?.querySelector("img");
  if (picture) window.dispatchEvent(new CustomEvent("carsfg-search", { detail: picture.src }));
});

watch("value", () => { // on a phone the photo fills the screen: go to what was found
  if (matchMedia("(max-width: 700px)").matches) element.scrollIntoView({ behavior: "smooth", block: "start" });
});
