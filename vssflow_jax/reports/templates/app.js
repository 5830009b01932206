// Gradio's fields take the files whose kind the browser guesses from their names. The server
// decides by their content: each file passes as the kind that its field expects.
const passAs = (files, kind) => {
  const passed = new DataTransfer();
  for (const file of files) passed.items.add(new File([file], file.name, {type: kind}));
  return passed;
};
const findKind = (element) => {
  if (element.closest("#video")) return "video/mp4";
  return element.closest("[id^=voice]") ? "audio/wav" : null;
};
document.addEventListener("click", (event) => {
  const isUpload = event.target.type === "file" && findKind(event.target);
  if (isUpload && matchMedia("(pointer: fine)").matches) event.target.removeAttribute("accept");
}, true);
document.addEventListener("change", (event) => {
  const kind = event.target.type === "file" && findKind(event.target);
  if (kind) event.target.files = passAs(event.target.files, kind).files;
}, true);
document.addEventListener("drop", (event) => {
  const kind = findKind(event.target);
  if (!kind || !event.isTrusted || !event.dataTransfer.files.length) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  event.target.dispatchEvent(new DragEvent("drop", {
    bubbles: true, cancelable: true, dataTransfer: passAs(event.dataTransfer.files, kind),
  }));
}, true);

// Gradio's videos have no names for screen readers.
setInterval(() => {
  for (const [selector, name] of [["#video", "Video"], ["#result", "Result"]]) {
    const video = document.querySelector(`${selector} video`);
    if (video && !video.ariaLabel) video.ariaLabel = name;
  }
}, 200);

// ---- words and waveform of the result ----
// The field with the spans says which there are; words, waveform and numbers only change it.
const findTimeline = () => document.querySelector("#timeline .timeline");
const findSpanField = () => document.querySelector("#redo textarea, #redo input");
const findSeconds = () => Number(findTimeline().dataset.seconds);

const readSpans = () => (findSpanField()?.value ?? "").split(",").map((part) => {
  const [start, end] = part.split(":").map((text) => text.trim());
  return [Number(start), end === "" ? findSeconds() : Number(end)];
}).filter(([start, end]) => end > start);

const writeSpans = (spans) => {
  const field = findSpanField();
  spans.sort(([a], [b]) => a - b);
  field.value = spans.map((span) => span.map((time) => time.toFixed(2)).join(":")).join(", ");
  field.dispatchEvent(new Event("input", {bubbles: true}));
  drawTimeline();
};

// Gradio's player of sounds keeps its element in a shadow tree.
const findAudio = (selector) => [...document.querySelectorAll(`${selector} div`)]
  .map((host) => host.shadowRoot?.querySelector("audio")).find(Boolean);
const listPlayers = () => [
  document.querySelector("#result video"), ...["#both", "#speech", "#sound"].map(findAudio),
  ...document.querySelectorAll("#candidates audio"),
].filter(Boolean);
const findPlayer = () => {
  const players = listPlayers();
  return players.find((player) => !player.paused) ?? players[0];
};

let drawn = [];  // what the timeline shows
const drawTimeline = () => {
  const timeline = findTimeline();
  if (!timeline) return;
  const time = findPlayer()?.currentTime ?? 0;
  timeline.querySelector(".cursor").style.left = `${100 * time / findSeconds()}%`;
  const words = [...timeline.querySelectorAll(".word")];
  for (const word of words) {
    const {start, end} = word.dataset;
    word.classList.toggle("now", Number(start) <= time && time < Number(end));
  }
  const text = findSpanField()?.value ?? "";
  if (drawn[0] === timeline && drawn[1] === text) return;
  if (drawn[0] !== timeline) words.forEach((word, place) => { word.tabIndex = place ? -1 : 0; });
  drawn = [timeline, text];
  const spans = readSpans();
  for (const word of words) word.ariaPressed = String(spans.some((span) => covers(span, word)));
  timeline.querySelector(".marks").replaceChildren(...spans.map(makeMark));
};
const covers = ([start, end], word) =>
  start <= Number(word.dataset.start) + 0.005 && Number(word.dataset.end) <= end + 0.005;
const makeMark = ([start, end]) => {
  const mark = document.createElement("div");
  mark.style.left = `${100 * start / findSeconds()}%`;
  mark.style.width = `${100 * (end - start) / findSeconds()}%`;
  return mark;
};
setInterval(drawTimeline, 50);

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("#timeline button");
  if (!button) return;
  const spans = readSpans();
  if (button.matches(".word")) {
    const others = spans.filter((span) => !covers(span, button));
    const {start, end} = button.dataset;
    writeSpans(others.length < spans.length ? others : [...spans, [Number(start), Number(end)]]);
  } else if (button.matches(".clear")) {
    writeSpans([]);
  } else {
    const [from, to] = [".from", ".to"].map((name) =>
      Number(findTimeline().querySelector(name).value));
    if (to > from) writeSpans([...spans, [from, to]]);
  }
});
document.addEventListener("keydown", (event) => {
  const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  const words = [...document.querySelectorAll("#timeline .word")];
  const word = words[words.indexOf(event.target) + step];
  if (!step || !words.includes(event.target) || !word) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  word.tabIndex = 0;
  word.focus();
});

let dragged = null;  // where a drag on the waveform began, a second
const findTime = (event) => {
  const box = document.querySelector("#timeline .wave").getBoundingClientRect();
  const share = (event.clientX - box.left) / box.width;
  return findSeconds() * Math.min(Math.max(share, 0), 1);
};
document.addEventListener("pointerdown", (event) => {
  if (event.target.closest?.("#timeline .wave")) dragged = findTime(event);
});
document.addEventListener("pointermove", (event) => {
  if (dragged === null) return;
  const span = [dragged, findTime(event)].sort((a, b) => a - b);
  findTimeline().querySelector(".marks").replaceChildren(...[...readSpans(), span].map(makeMark));
});
document.addEventListener("pointerup", (event) => {
  if (dragged === null) return;
  const [start, end] = [dragged, findTime(event)].sort((a, b) => a - b);
  dragged = null;
  drawn = [];
  const isClick = end - start < 0.01 * findSeconds();
  if (!isClick) return writeSpans([...readSpans(), [start, end]]);
  const player = findPlayer();
  if (player) player.currentTime = start;
});
document.addEventListener("pointercancel", () => { dragged = null; drawn = []; });
