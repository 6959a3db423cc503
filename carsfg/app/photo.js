// The photo and its crop box. Request: {"image": data URL, "box": [x0, y0, x1, y1] in 0..1 or null: find the car, "raw": true if the browser
// cannot decode the photo, "number": request number}.
const MAX_SIDE_PX = 1280, MAX_FILE_BYTES = 20 * 2 ** 20, BOX_STEP = 0.02, MIN_BOX_SIDE = 0.06, WHOLE = [0, 0, 1, 1];
const one = (name) => element.querySelector(name);
const all = (name, hidden) => element.querySelectorAll(name).forEach((node) => { node.hidden = hidden; });
const stage = one(".stage"), photo = one(".photo"), box = one(".box"), live = one(".live");
let image = null, raw = false, corners = WHOLE, drag = null, waiting = null, loads = 0, number = 0, isNew = false, isChosen = false;
const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";

function say(words) { one(".message").textContent = words; }

function draw() {
  const [x0, y0, x1, y1] = corners.map((corner) => 100 * corner);
  box.style.cssText = `left:${x0}%;top:${y0}%;width:${x1 - x0}%;height:${y1 - y0}%`;
}

function send(delay = 0) {
  clearTimeout(waiting);
  number += 1;
  waiting = setTimeout(() => {
    props.value = JSON.stringify({ image, box: isChosen ? corners : null, raw, number });
    trigger("search");
  }, delay);
}

function take(url, isRaw, isCrop = false) { // a photo that the browser cannot decode is shown when the server returns it
  [image, raw, corners, isNew, isChosen] = [url, isRaw, WHOLE, true, isCrop];
  if (isRaw) photo.removeAttribute("src");
  else photo.src = url;
  one(".empty").hidden = !isRaw;
  stage.hidden = isRaw;
  all(".tools", isRaw);
  closeCamera();
  draw();
}

photo.onload = () => { stage.style.maxWidth = `${70 * photo.naturalWidth / photo.naturalHeight}vh`; };

async function load(file) {
  say("");
  if (!file) return;
  if (file.size > MAX_FILE_BYTES) return say(`${file.name} is too large (${Math.round(file.size / 2 ** 20)} MB); use a photo of at most 20 MB.`);
  const mine = loads += 1;
  const [url, isRaw] = await decode(file);
  if (mine !== loads) return; // another photo was chosen meanwhile
  if (isRaw) say(`${file.name} cannot be shown by this browser; trying the server.`);
  take(url, isRaw);
  send();
}

async function decode(file) {
  try {
    const bitmap = await createImageBitmap(file); // applies the EXIF orientation; no metadata is sent
    const scale = Math.min(1, MAX_SIDE_PX / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return [canvas.toDataURL("image/jpeg", 0.92), false];
  } catch { // not a format of this browser: the server decodes it or reports an error
    const reader = new FileReader();
    return new Promise((done) => { reader.onloadend = () => done([reader.result ?? "", true]); reader.readAsDataURL(file); });
  }
}

async function openCamera() {
  const phone = matchMedia("(pointer: coarse)").matches;
  if (phone || !navigator.mediaDevices?.getUserMedia) return one(".capture").click();
  try {
    live.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: MAX_SIDE_PX } } });
    await live.play();
    live.hidden = one(".shoot").hidden = false;
    one(".shot").focus();
  } catch {
    say("Camera not available; allow it in the browser or choose a photo.");
  }
}

function closeCamera() {
  live.srcObject?.getTracks().forEach((track) => track.stop());
  live.hidden = one(".shoot").hidden = true;
}

one(".shot").onclick = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [live.videoWidth, live.videoHeight];
  canvas.getContext("2d").drawImage(live, 0, 0);
  closeCamera();
  canvas.toBlob((blob) => load(new File([blob], "photo.jpg")), "image/jpeg", 0.92);
};
one(".stop").onclick = closeCamera;
one(".whole").onclick = () => change(WHOLE);
element.querySelectorAll(".choose").forEach((node) => { node.onclick = () => one(".file").click(); });
element.querySelectorAll(".camera").forEach((node) => { node.onclick = openCamera; });
element.querySelectorAll("input").forEach((node) => { node.onchange = () => { load(node.files[0]); node.value = ""; }; });

// on the whole document: a file dropped elsewhere would replace the page
document.addEventListener("dragover", (event) => { event.preventDefault(); element.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) element.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  element.classList.remove("over");
  load(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((item) => item.type.startsWith("image/"));
  if (file) load(file);
});
window.addEventListener("carsfg-search", (event) => { // a result or an example was clicked
  say("");
  loads += 1;
  take(event.detail.url, false, !event.detail.isScene);
  send();
  element.scrollIntoView({ behavior, block: "nearest" });
});
window.addEventListener("carsfg-found", ({ detail }) => {
  one(".status").textContent = detail.words ?? "";
  const phone = matchMedia("(max-width: 700px)").matches; // the photo fills the screen: scroll to the results
  if (isNew && phone) document.getElementById("found").scrollIntoView({ behavior, block: "start" });
  isNew = false;
  const isBoxed = detail.box && Number(detail.boxNumber) === number && !drag && !isChosen;
  const isShown = raw && detail.preview && Number(detail.number) === number; // no response to an older photo
  const wasChosen = isChosen;
  if (raw) say("");
  if (isShown) take(detail.preview, false, wasChosen);
  isNew = false;
  if (isBoxed) [corners, isChosen] = [detail.box, true]; // the box that the server found, to be moved
  if (!isShown && !isBoxed) return;
  draw();
  props.value = JSON.stringify({ image, box: isChosen ? corners : null, raw, number });
});

function place(event) {
  const area = stage.getBoundingClientRect();
  const inside = (value) => Math.min(1, Math.max(0, value));
  return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
}

function change(wanted, delay = 0) {
  if (wanted.join() === corners.join()) return;
  corners = wanted;
  isChosen = true;
  draw();
  send(delay);
}

function fitted([x0, y0, x1, y1]) { // clip to the photo, with a minimum size
  const [width, height] = [Math.max(MIN_BOX_SIDE, x1 - x0), Math.max(MIN_BOX_SIDE, y1 - y0)];
  const left = Math.min(Math.max(0, x0), 1 - width), top = Math.min(Math.max(0, y0), 1 - height);
  return [Math.max(0, left), Math.max(0, top), Math.min(1, left + width), Math.min(1, top + height)];
}

stage.addEventListener("dragstart", (event) => event.preventDefault());
stage.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const whole = corners.join() === WHOLE.join();
  const kind = event.target.dataset.corner ?? (event.target === box && !whole ? "move" : "new");
  drag = { kind, from: place(event), corners };
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = place(event), [dx, dy] = [x - drag.from[0], y - drag.from[1]];
  const [x0, y0, x1, y1] = drag.corners;
  if (drag.kind === "new" && Math.hypot(dx, dy) < BOX_STEP) return; // a click
  if (drag.kind === "move") corners = fitted([x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
  else {
    const [west, north] = [drag.kind.includes("w"), drag.kind.includes("n")];
    const fixed = drag.kind === "new" ? drag.from : [west ? x1 : x0, north ? y1 : y0];
    corners = fitted([Math.min(fixed[0], x), Math.min(fixed[1], y), Math.max(fixed[0], x), Math.max(fixed[1], y)]);
  }
  draw();
});
function drop() {
  if (drag && drag.corners.join() !== corners.join()) {
    isChosen = true;
    send();
  }
  drag = null;
}
stage.addEventListener("pointerup", drop);
stage.addEventListener("pointercancel", drop);
box.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-BOX_STEP, 0], ArrowRight: [BOX_STEP, 0], ArrowUp: [0, -BOX_STEP], ArrowDown: [0, BOX_STEP] }[event.key];
  if (!step && event.key !== "Escape") return;
  event.preventDefault();
  const [x0, y0, x1, y1] = corners, [dx, dy] = step ?? [0, 0], still = event.shiftKey ? 0 : 1;
  change(step ? fitted([x0 + still * dx, y0 + still * dy, x1 + dx, y1 + dy]) : WHOLE, 400);
});
